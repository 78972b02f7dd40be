// Folds what the page shows unfolded: turns, sliders, and a closer look at each picture. The page is complete without it.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".control").forEach((control) => { control.hidden = false; });
  document.querySelectorAll(".flips").forEach(makeFlips);
  document.querySelectorAll(".compare").forEach(makeCompare);
  document.querySelectorAll(".scrub").forEach(makeScrub);
  document.querySelectorAll(".tiles, .states").forEach(makeOpenable);
  document.querySelectorAll(".copy").forEach(makeCopy);
  document.querySelectorAll(".figure").forEach(makeOneStop);
  document.querySelectorAll(".scroll, .formula").forEach(makeScrollable);
  if (matchMedia("(max-width: 68rem)").matches) document.querySelector(".contents details").open = false;
  followContents();
});

function announce(text) { document.getElementById("announcement").textContent = text; }

function element(name, attributes, ...children) { return filled(document.createElement(name), attributes, children); }

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The frame of a picture as a button, with the picture in it.
function buttonFrame(frame, attributes) {
  const button = element("button", { type: "button", class: "frame", ...attributes }, ...frame.childNodes);
  frame.replaceWith(button);
  return button;
}

function words(panel, name) { return panel.querySelector(name).textContent.trim(); }

// flip: the first picture of a sample turns into the reading that the mouse enters or that is pressed
function makeFlips(flips) {
  const all = flips.querySelector(".turn-all");
  const verb = all.textContent.split(" ")[0];
  const turns = [...flips.querySelectorAll(".panel + .panel")].map((panel) => {
    const picture = panel.querySelector(".picture");
    const name = picture.getAttribute("alt") || picture.getAttribute("aria-label");
    const button = buttonFrame(panel.querySelector(".frame"), { "aria-label": `${verb}: ${name}` });
    const face = button.firstElementChild;
    const turned = face.matches(".face");
    if (!turned) { // no turn leads to it: it appears over the first picture
      const ground = panel.parentElement.querySelector(".picture").cloneNode(true);
      ground.setAttribute("aria-hidden", "true");
      ground.classList.add("ground");
      button.prepend(ground);
    }
    panel.querySelector("figcaption").append(infoButton(panel));
    const turn = () => {
      if (face.getAnimations().length) return;
      const before = turned ? { transform: "none", filter: "none" } : { opacity: 0 };
      const easing = matchMedia("(prefers-reduced-motion: reduce)").matches ? "step-end" : "ease-in-out";
      face.animate([{ ...before, offset: 0 }, { ...before, offset: 0.4, easing }], 1500); // ends as it lies
    };
    button.addEventListener("click", () => {
      turn();
      announce(words(panel, ".label"));
    });
    button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") turn(); });
    return turn;
  });
  all.addEventListener("click", () => turns.forEach((turn) => turn()));
}

// compare: the first picture over the second, up to the slider
function makeCompare(compare) {
  const stage = compare.querySelector(".compare-stage");
  const slider = compare.querySelector("input");
  const [first, second] = stage.querySelectorAll(".panel");
  const edge = element("span", { class: "edge" });
  compare.classList.add("live");
  stage.append(edge);
  const show = () => {
    const share = Number(slider.value);
    second.querySelector(".frame").style.clipPath = `inset(0 0 0 ${share}%)`;
    edge.style.left = `${share}%`;
    edge.style.height = `${first.querySelector(".frame").offsetHeight}px`;
    slider.setAttribute("aria-valuetext", `${share} % ${words(first, ".label")}, ${100 - share} % ${words(second, ".label")}`);
  };
  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    slider.value = String(Math.round((100 * (event.clientX - box.left)) / box.width));
    show();
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) drag(event); });
  [first, second].forEach((panel) => panel.querySelector("figcaption").append(infoButton(panel)));
  slider.addEventListener("input", show);
  addEventListener("resize", show);
  show();
}

// scrub: one state at a time, under a slider
function makeScrub(scrub) {
  const states = [...scrub.querySelectorAll(".states > li")];
  const slider = scrub.querySelector("input");
  const output = scrub.querySelector("output");
  const play = scrub.querySelector(".play");
  let timer = null;
  scrub.classList.add("live");
  scrub.querySelector(".scrub-controls").hidden = states.length < 2;
  const show = (index) => {
    states.forEach((state, number) => state.classList.toggle("current", number === index));
    slider.value = String(index);
    output.textContent = words(states[index], ".state");
    slider.setAttribute("aria-valuetext", output.textContent);
    scrub.dispatchEvent(new Event("shown", { bubbles: true }));
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.setAttribute("aria-label", "Play");
    play.firstElementChild.textContent = "▶";
  };
  play.addEventListener("click", () => {
    if (timer !== null) { stop(); return; }
    if (Number(slider.value) === states.length - 1) show(0);
    play.setAttribute("aria-label", "Pause");
    play.firstElementChild.textContent = "❚❚";
    timer = setInterval(() => {
      const next = Number(slider.value) + 1;
      if (next < states.length) show(next);
      if (next >= states.length - 1) stop();
    }, Math.max(110, Math.min(700, 4000 / states.length)));
  });
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  // It rests where there is something to compare: a walk on its way, where noise and estimate differ, epochs at the last.
  show(words(states.at(-1), ".state") === "finished" ? Math.floor(0.6 * (states.length - 1)) : states.length - 1);
}

// A picture opens with what made it.
function makeOpenable(group) {
  group.querySelectorAll(".panel:not(:has(button))").forEach((panel) => {
    const button = buttonFrame(panel.querySelector(".frame"), { "aria-haspopup": "dialog" });
    button.addEventListener("click", () => openDetails(panel));
  });
}

// A figure is one stop of the Tab key. The arrow keys move between what is in it: left and right to the next, up and down to
// the next row. A slider keeps left and right for itself.
function makeOneStop(figure) {
  const all = () => [...figure.querySelectorAll("button, input, summary")];
  const visible = () => all().filter((control) => control.checkVisibility());
  const stopAt = (stop) => all().forEach((control) => { control.tabIndex = control === stop ? 0 : -1; });
  const check = () => { if (!visible().some((control) => control.tabIndex === 0)) stopAt(visible()[0]); };
  const rowwise = (from, direction) => {
    const here = from.getBoundingClientRect();
    const distances = visible().map((control) => {
      const box = control.getBoundingClientRect();
      const down = direction > 0 ? box.top - here.bottom : here.top - box.bottom;
      const across = Math.abs(box.left + box.width / 2 - here.left - here.width / 2);
      return [down < -1 ? Infinity : Math.round(down / 16) * 1e5 + across, control];
    });
    const [distance, nearest] = distances.reduce((best, other) => (other[0] < best[0] ? other : best));
    return distance < Infinity ? nearest : null;
  };
  figure.addEventListener("focusin", (event) => { if (all().includes(event.target)) stopAt(event.target); });
  figure.addEventListener("toggle", check, true);
  figure.addEventListener("shown", check);
  figure.addEventListener("keydown", (event) => {
    if (!all().includes(event.target) || event.altKey || event.ctrlKey || event.metaKey) return;
    const order = visible();
    const index = order.indexOf(event.target);
    const moves = { ArrowDown: () => rowwise(event.target, 1), ArrowUp: () => rowwise(event.target, -1) };
    if (event.target.type !== "range") {
      Object.assign(moves, { ArrowRight: () => order[index + 1], ArrowLeft: () => order[index - 1], Home: () => order[0], End: () => order.at(-1) });
    }
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]()?.focus();
  });
  stopAt(visible()[0]);
}

// What is scrolled sideways is a stop of the Tab key only where it is wider than its place.
function makeScrollable(region) {
  new ResizeObserver(() => { region.tabIndex = region.scrollWidth > region.clientWidth ? 0 : -1; }).observe(region);
}

function infoButton(panel) {
  const button = element("button", { type: "button", class: "info", "aria-haspopup": "dialog", "aria-label": `What made “${words(panel, ".label")}”` }, "i");
  button.addEventListener("click", () => openDetails(panel));
  return button;
}

// What made a picture, as [entry, text]: what it has of its own, then what its block has in common.
function madeOf(panel) {
  const made = document.getElementById(panel.closest(".block").dataset.made);
  const common = "plain" in panel.dataset ? ".entries > .of-all" : ".entries > div"; // nothing made a plain picture
  const headings = [...made.querySelectorAll("thead th")].slice(1);
  const cells = [...made.querySelectorAll(`tr[data-panel="${panel.dataset.panel}"] td`)];
  const own = cells.map((cell, index) => [headings[index].textContent, cell.textContent]).filter(([, value]) => value !== "–");
  return [...own, ...[...made.querySelectorAll(common)].map((entry) => [...entry.children].map((part) => part.textContent))];
}

function openDetails(panel) {
  const dialog = document.getElementById("details");
  const picture = panel.querySelector(".picture:not(.ground)");
  const states = panel.closest("li");
  const place = states ? words(states, ".state") : panel.dataset.row;
  const title = [place, words(panel, ".label")].filter(Boolean).join(", ");
  dialog.querySelector("#details-title").textContent = title || panel.closest(".figure").querySelector("h3").textContent;
  dialog.querySelector(".details-alt").textContent = picture.getAttribute("alt") || picture.getAttribute("aria-label");
  dialog.querySelector(".details-picture").replaceChildren(picture.cloneNode(true));
  const entries = madeOf(panel).map(([key, value]) => element("div", {}, element("dt", {}, key), element("dd", {}, value)));
  dialog.querySelector(".entries").replaceChildren(...entries);
  const command = panel.closest(".figure").querySelector(".made .command");
  dialog.querySelector(".details-command").replaceChildren(...(command ? [command.cloneNode(true)] : []));
  dialog.querySelectorAll(".copy").forEach((button) => { button.tabIndex = 0; makeCopy(button); });
  dialog.dispatchEvent(new CustomEvent("opened", { detail: panel }));
  dialog.showModal();
}

function makeCopy(button) {
  button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      getSelection().selectAllChildren(code); // no access to the clipboard: leave the text selected
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
}

function followContents() {
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((seen) => seen.isIntersecting)) {
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -85% 0px" });
  links.forEach((_, id) => observer.observe(document.getElementById(id)));
}
