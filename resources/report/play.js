// Draws in the page: what the reader asks for, from the networks that the page is about. The loop and the networks: engine.js.
// Nothing happens before a click; weights are decoded when they are first needed; nothing is stored or sent.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const payload = document.getElementById("play-about");
  if (!payload) return;
  const about = JSON.parse(payload.textContent);
  document.querySelectorAll(".playground").forEach((place) => {
    place.hidden = false;
    place.addEventListener("toggle", () => { PLAYS[place.dataset.play](place, about); }, { once: true });
  });
  offerRuns(about);
});

// --- the models, each made when it is first asked for ---

const models = {};

function once(name, make) { return (models[name] ??= make()); }

function tensors(about, name) {
  return Engine.decode(document.getElementById(`weights-${name}`).textContent, about.weights[name]);
}

// A network with all that a walk needs to know of it: the shape of a picture, its schedule, how a word becomes a condition.
function digitModel(about, epoch) {
  return once(`digits ${epoch}`, () => {
    const schedule = Engine.cosine(about.digits.T);
    const network = Engine.smallUNet(tensors(about, `digits-${epoch}`), { schedule });
    return {
      network, schedule, channels: 1, size: 28, threshold: Engine.clip(-1, 1), nothing: 10,
      guided: (t) => t <= about.digits.guidance_interval[1] * schedule.T && t >= about.digits.guidance_interval[0] * schedule.T,
      read: (x) => once("digit reader", () => Engine.digitReader(tensors(about, "digit-reader")))(x),
    };
  });
}

function colourModel(about) {
  return once("colours", () => {
    const { unet, scheduler, text, vocabulary } = about.colours;
    const schedule = Engine.ofScheduler(scheduler);
    const network = Engine.ifUNet(tensors(about, "colours"), unet, schedule);
    const encode = Engine.textEncoder(tensors(about, "text"), text);
    const embeds = {};
    const cond = (prompt) => (embeds[prompt] ??= encode(Engine.tokenize(prompt, vocabulary)));
    return {
      network, schedule, channels: 3, size: 16, cond, nothing: cond(""), guided: () => true,
      threshold: schedule.threshold,
      read: (x) => once("colour reader", () => Engine.pictureReader(tensors(about, "colour-reader")))(x),
    };
  });
}

function said(reading, names) {
  return `${names[reading.digit]} (${Math.round(100 * reading.probabilities[reading.digit])} %)`;
}

// --- one walk at a time: a new one stops the one before ---

class Stopped extends Error {}
class Missing extends Error {} // what the reader has to do first

let current = null; // of the walk that is under way

// The page answers between two calls of a network. A message comes at once, where a timer would wait for milliseconds.
function breathe(walk) {
  return new Promise((resolve, reject) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { port1.close(); if (walk.stopped) reject(new Stopped()); else resolve(); };
    port2.postMessage(null);
  });
}

// Yields the states of a walk. how: model, branches, guidance, steps, sampler, seed, and x, start, constraint as in the library; or
// `held`, an x_t at `start` to go on from.
async function* walk(how, run) {
  const { model, branches } = how;
  const generator = Engine.generator(how.seed);
  const noise = generator.normal(model.channels * model.size ** 2);
  const timesteps = Engine.timesteps("trailing", model.schedule.T, how.steps);
  const x = how.held ?? (how.start === undefined ? noise : Engine.qSample(model.schedule, how.x, how.start, noise));
  const predict = (x_t, t) => {
    const scale = model.guided(t) ? how.guidance : 1;
    return Engine.predict(model.network, x_t, t, branches, scale, model.nothing, () => breathe(run));
  };
  const known = how.constraint && ((x_t, t) => how.constraint(x_t, t, generator));
  yield* Engine.denoise({
    schedule: model.schedule, predict, x, pairs: Engine.pairs(timesteps, how.start), sampler: how.sampler, generator,
    threshold: model.threshold, constraint: known,
  });
}

// --- what all plays have: controls, a stage, a slider through the steps ---

function paint(canvas, x, { channels, size }) {
  canvas.width = canvas.height = size;
  const image = new ImageData(size, size), plane = size * size;
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 127.5 * (x[(channels === 3 ? c : 0) * plane + i] + 1);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0);
}

function field(label, control, ...more) {
  control.name = label;
  return element("label", { class: "play-field" }, element("span", {}, label, ...more.flatMap((one) => [" ", one])), control);
}

function choice(options, chosen) {
  const made = element("select", {});
  for (const [value, name] of options) made.append(element("option", value === chosen ? { value, selected: "" } : { value }, name));
  return made;
}

function range(min, max, value, step = 1) {
  const made = element("input", { type: "range", min, max, step, value }); // the value last: it is rounded to the step
  const shown = element("output", {}, String(value));
  made.addEventListener("input", () => { shown.textContent = made.value; });
  return { made, shown, get value() { return Number(made.value); } };
}

function number(value) { return element("input", { type: "number", min: 0, max: 4294967295, value }); }

function picture(name) {
  const canvas = element("canvas", { class: "picture pixelated", role: "img", "aria-label": name, width: 28, height: 28 });
  const caption = element("figcaption", {}, name);
  return { canvas, caption, panel: element("figure", { class: "panel" }, canvas, caption) };
}

const SAMPLERS = [["dpm_solver", "DPM-Solver++"], ["sde_dpm_solver", "SDE-DPM-Solver++"], ["ddim", "DDIM"], ["ddpm", "DDPM"]];

// Controls that every play has, and what happens on "Draw": prepare() gives a walk, finish(state) says what became of it.
function stage(place, { fields, before = [], word = "Draw", steps = 16, guidance = 2, sampler = "dpm_solver", prepare, finish }) {
  const how = {
    seed: number(Math.floor(Math.random() * 1000)), steps: range(1, 40, steps), guidance: range(0, 10, guidance, 0.5), sampler: choice(SAMPLERS, sampler),
  };
  const draw = element("button", { type: "submit", class: "draw" }, word);
  const stop = element("button", { type: "button", hidden: "" }, "Stop");
  const held = picture("xₜ: what the loop holds"), guessed = picture("x₀: the network’s estimate");
  const scrub = element("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Step", disabled: "" });
  const told = element("p", { class: "play-told", role: "status" });
  const form = element(
    "form", { class: "play-form" }, ...fields, field("seed", how.seed), field("steps", how.steps.made, how.steps.shown),
    field("guidance", how.guidance.made, how.guidance.shown), field("sampler", how.sampler), element("div", { class: "play-buttons" }, draw, stop),
  );
  const result = element("div", { class: "play-stage" }, element("div", { class: "row" }, held.panel, guessed.panel), scrub, told);
  place.append(element("div", { class: "play-body" }, ...before, form, result));
  let states = [], shown = null, model = null;

  function show(i) {
    shown = states[i];
    paint(held.canvas, shown.x_t, model);
    paint(guessed.canvas, shown.x_0, model);
    const when = shown.t < 0 ? "finished" : `t = ${shown.t}`;
    held.caption.textContent = `xₜ: what the loop holds, ${when}`;
    scrub.setAttribute("aria-valuetext", when);
  }

  scrub.addEventListener("input", () => show(Number(scrub.value)));
  stop.addEventListener("click", () => { if (current) current.stopped = true; });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (current) current.stopped = true;
    const run = (current = { stopped: false });
    draw.disabled = true;
    stop.hidden = false;
    told.textContent = "Drawing …";
    const began = performance.now();
    try {
      await new Promise((resolve) => setTimeout(resolve)); // the page shows that it began before weights are decoded
      const asked = await prepare();
      model = asked.model;
      states = [];
      const all = { seed: Number(how.seed.value), steps: how.steps.value, guidance: how.guidance.value, sampler: how.sampler.value, ...asked };
      for await (const state of walk(all, run)) {
        states.push(state);
        scrub.disabled = false;
        scrub.max = states.length - 1; // before the value, which it limits
        scrub.value = states.length - 1;
        show(states.length - 1);
      }
      told.textContent = `${finish(states.at(-1).x_t, asked)} ${states.length} steps, ${((performance.now() - began) / 1000).toFixed(1)} s.`;
    } catch (error) {
      told.textContent = error instanceof Stopped ? "Stopped." : error.message;
      if (!(error instanceof Stopped || error instanceof Missing)) throw error;
    } finally {
      if (current === run) current = null;
      draw.disabled = false;
      stop.hidden = true;
    }
  });
  return { guessed };
}

function digitChoice(about, chosen) { return choice(about.names.map((name, i) => [String(i), name]), String(chosen)); }

function colourChoice(about, chosen) { return choice(about.colours.names.map((name) => [name, name]), chosen); }

function prompt(about, digit, foreground, background) {
  return `a ${foreground} ${about.colours.digits[digit.value]} on a ${background} background`;
}

// A colour's negative is the one from the other end.
function negative(about, colour) { return about.colours.names.at(-1 - about.colours.names.indexOf(colour)); }

// --- the plays ---

const PLAYS = {
  digits(place, about) {
    const epoch = choice(about.digits.epochs.map((one) => [String(one), `epoch ${one}`]), String(about.digits.epochs.at(-1)));
    const digit = digitChoice(about, 3);
    stage(place, {
      fields: [field("trained up to", epoch), field("drawn as", digit)],
      prepare: () => ({ model: digitModel(about, epoch.value), branches: [{ cond: Number(digit.value) }] }),
      finish: (x, { model }) => `The classifier reads: ${said(model.read(x), about.names)}.`,
    });
  },

  colours(place, about) {
    const digit = digitChoice(about, 7), foreground = colourChoice(about, "red"), background = colourChoice(about, "white");
    stage(place, {
      fields: [field("colour", foreground), field("digit", digit), field("background", background)],
      steps: 10, guidance: 3, sampler: "sde_dpm_solver",
      prepare: () => {
        const model = colourModel(about);
        return { model, branches: [{ cond: model.cond(prompt(about, digit, foreground.value, background.value)) }] };
      },
      finish: (x, { model }) => `The judge reads: ${said(model.read(x), about.colours.digits)}.`,
    });
  },

  anagram(place, about) {
    const first = digitChoice(about, 6), second = digitChoice(about, 9), view = choice(VIEWS, "rotate_180");
    const foreground = colourChoice(about, "white"), background = colourChoice(about, "black");
    const turn = element("button", { type: "button", disabled: "" }, "See it the other way");
    const made = stage(place, {
      fields: [
        field("digit", first), field("and, seen otherwise", second), field("view", view), field("colour", foreground),
        field("background", background),
      ],
      steps: 10, guidance: 3, sampler: "sde_dpm_solver",
      prepare: () => {
        const model = colourModel(about);
        const branch = (digit, name) => {
          const colours = [foreground.value, background.value].map((one) => (name === "negate" ? negative(about, one) : one));
          return { cond: model.cond(prompt(about, digit, ...colours)), view: Engine.views[name], part: 1 / 2 };
        };
        made.guessed.canvas.className = "picture pixelated";
        return { model, branches: [branch(first, "identity"), branch(second, view.value)], turned: view.value };
      },
      finish: (x, { model, turned }) => {
        turn.disabled = false;
        made.guessed.canvas.dataset.turned = turned;
        const seen = Engine.views[turned].view(x);
        const names = about.colours.digits;
        return `The judge reads: ${said(model.read(x), names)}; and seen otherwise: ${said(model.read(seen), names)}.`;
      },
    });
    turn.addEventListener("click", () => made.guessed.canvas.classList.toggle(made.guessed.canvas.dataset.turned));
    made.guessed.panel.append(turn);
  },

  drawing(place, about) {
    const kind = choice([["digits", "digits"], ["colours", "coloured digits"]], "digits"), digit = digitChoice(about, 3);
    const level = range(0.1, 0.95, 0.7, 0.05);
    const board = makeBoard(28);
    board.sketch([[8, 8], [12, 5], [18, 6], [19, 10], [13, 13], [19, 16], [20, 21], [14, 24], [7, 21]]); // something like a three
    stage(place, {
      fields: [field("network", kind), field("becomes a", digit), field("noise, t / T", level.made, level.shown)],
      before: [board.panel("Draw here")], word: "Run the loop", steps: 20, sampler: "sde_dpm_solver",
      prepare: () => {
        if (board.empty()) throw new Missing("Draw a digit first.");
        const of_digits = kind.value === "digits", model = of_digits ? digitModel(about, about.digits.epochs.at(-1)) : colourModel(about);
        const word = `a white ${about.colours.digits[digit.value]} on a black background`;
        const cond = of_digits ? Number(digit.value) : model.cond(word);
        return { model, branches: [{ cond }], x: board.ink(model), start: Math.round(level.value * model.schedule.T) - 1 };
      },
      finish: (x, { model }) => `Read as: ${said(model.read(x), about.names)}.`,
    });
  },

  hole(place, about) {
    const from = digitChoice(about, 3), digit = digitChoice(about, 8), board = makeBoard(28, "#b34a00");
    for (let x = 3; x <= 11; x += 1) board.sketch([[x, 3], [x, 25]]); // the left half
    const other = element("button", { type: "button" }, "Another picture");
    const picture = { seed: 1, x: null };
    const model = () => digitModel(about, about.digits.epochs.at(-1));
    async function drawn() {
      const how = { model: model(), branches: [{ cond: Number(from.value) }], seed: picture.seed, steps: 12, guidance: 2, sampler: "dpm_solver" };
      for await (const state of walk(how, { stopped: false })) picture.x = state.x_t;
      picture.of = from.value;
      board.background((canvas) => paint(canvas, picture.x, how.model));
    }
    other.addEventListener("click", () => { picture.seed += 1; drawn(); });
    from.addEventListener("change", drawn);
    drawn();
    stage(place, {
      fields: [field("becomes a", digit)],
      before: [field("picture", from), other, board.panel("Brush over what is to be drawn anew")], word: "Run the loop", steps: 20,
      sampler: "ddpm",
      prepare: async () => {
        if (board.empty()) throw new Missing("Brush over a part of the picture first.");
        const known = board.ink(model()).map((ink) => ink < 0), clean = picture.x;
        const constraint = (x, t, generator) => {
          const there = t < 0 ? clean : Engine.qSample(model().schedule, clean, t, generator.normal(clean.length));
          return x.map((value, i) => (known[i] ? there[i] : value));
        };
        return { model: model(), branches: [{ cond: Number(digit.value) }], constraint };
      },
      finish: (x) => `Read as: ${said(model().read(x), about.names)}.`,
    });
  },

  inside(place, about) {
    const from = digitChoice(about, 3), asked = digitChoice(about, 8), time = range(0.05, 0.98, 0.85, 0.01), scale = range(0, 10, 3, 0.5);
    const parts = ["the picture under noise", "without a class", "told the class", "guided", "one step less noise"].map(picture);
    const told = element("p", { class: "play-told", role: "status" });
    const form = element("form", { class: "play-form" }, field("drawn as", from), field("told that it is", asked), field("noise, t / T", time.made, time.shown), field("guidance", scale.made, scale.shown));
    let at = null; // what is shown: x_t, t, and the estimate without a class
    const finish = element("button", { type: "button", disabled: "" }, "Finish it eight times"), endings = element("div", { class: "row" });
    const remark = element("p", { class: "play-told", role: "status" });
    place.append(element("div", { class: "play-body" }, form, element("div", { class: "play-stage" }, element("div", { class: "row" }, ...parts.map((one) => one.panel)), told, finish, endings, remark)));
    finish.addEventListener("click", () => endEightTimes(model, at, endings, remark));
    const model = digitModel(about, about.digits.epochs.at(-1)), clean = {};
    async function show() {
      const label = Number(from.value), { schedule, network } = model;
      if (!clean[label]) {
        const how = { model, branches: [{ cond: label }], seed: 1, steps: 12, guidance: 2, sampler: "dpm_solver" };
        for await (const state of walk(how, { stopped: false })) clean[label] = state.x_t;
      }
      const t = Math.round(time.value * schedule.T) - 1;
      const x_t = Engine.qSample(schedule, clean[label], t, Engine.generator(2).normal(784));
      const free = network(x_t, t, [10]).x_0, with_class = network(x_t, t, [Number(asked.value)]).x_0;
      const guided = model.threshold(free.map((u, i) => u + scale.value * (with_class[i] - u)));
      const t_next = Math.max(-1, t - Math.round(schedule.T / 16)), [signal, sigma] = schedule.levels(t);
      const noise = x_t.map((x, i) => (x - signal * guided[i]) / sigma);
      const next = t_next < 0 ? guided : Engine.qSample(schedule, guided, t_next, noise);
      [x_t, free, with_class, guided, next].forEach((x, i) => paint(parts[i].canvas, x, model));
      at = { x_t, t, free };
      finish.disabled = false;
      endings.replaceChildren();
      remark.textContent = "";
      told.textContent = `t = ${t} of ${schedule.T}: the estimates of x₀. The guided one, read as: ${said(model.read(guided), about.names)}.`;
    }
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    show();
  },
};

// The loop with fresh noise from the same x_t, eight times without a class: one step is about the mean of what many steps may end at.
async function endEightTimes(model, { x_t, t, free }, row, remark) {
  const mean = new Float32Array(x_t.length), seeds = [1, 2, 3, 4, 5, 6, 7, 8];
  const shown = [...seeds.map((seed) => `ending ${seed}`), "their mean", "one step from here"].map(picture);
  row.replaceChildren(...shown.map((one) => one.panel));
  for (const seed of seeds) {
    const how = { model, branches: [{ cond: model.nothing }], seed, steps: 20, guidance: 1, sampler: "ddpm", start: t, held: x_t };
    let last = null;
    for await (const state of walk(how, { stopped: false })) last = state.x_t;
    if (!row.contains(shown[0].panel)) return; // something else is shown by now
    last.forEach((value, i) => { mean[i] += value / seeds.length; });
    paint(shown[seed - 1].canvas, last, model);
  }
  paint(shown[8].canvas, mean, model);
  paint(shown[9].canvas, free, model);
  remark.textContent = "Each ending is sharp. One step does not choose between them: it shows about their mean.";
}

const VIEWS = [["rotate_180", "upside down"], ["rotate_90_cw", "turned clockwise"], ["rotate_90_ccw", "turned the other way"], ["flip_vertical", "upside down, mirrored"], ["flip_horizontal", "in the mirror"], ["negate", "as a negative"]];

// --- "Run it here", beside what made a picture that a play can draw again ---

function offerRuns(about) {
  const button = (run, tabindex = 0) => {
    const made = element("button", { type: "button", class: "run-here", tabindex }, "Run it here");
    made.addEventListener("click", () => runHere(run));
    return made;
  };
  document.querySelectorAll(Object.keys(RUNS).map((section) => `#${section} .figure`).join()).forEach((figure) => {
    for (const block of figure.querySelectorAll(".block")) {
      const panel = block.querySelector(".panel"), run = panel && runOf(panel, about);
      if (!run) continue;
      figure.querySelector(".made .command").append(button(run, -1)); // a figure is one stop of the Tab key
      break;
    }
  });
  const dialog = document.getElementById("details");
  dialog.addEventListener("opened", ({ detail: panel }) => {
    dialog.querySelectorAll(".run-here").forEach((cloned) => cloned.remove());
    const run = runOf(panel, about);
    if (run) dialog.querySelector(".details-alt").after(button(run));
  });
}

// The play that draws such a picture, and its fields; null if there is none.
function runOf(panel, about) {
  const made = Object.fromEntries(madeOf(panel)), section = panel.closest("section").id;
  if (!RUNS[section] || !made.sampler || made.spacing !== "trailing" || (made.path ?? "–") !== "–") return null;
  const run = RUNS[section](made, panel, about);
  const { steps, guidance } = run?.fields ?? {};
  const fits = steps <= 40 && guidance <= 10 && Number.isInteger(2 * guidance); // what the play's sliders can say
  return fits && document.querySelector(`[data-play="${run.play}"]`) ? run : null;
}

function walkOf(made) { return { steps: made.steps ?? made["num steps"], guidance: made["guidance scale"], sampler: made.sampler }; }

function ofMiniature(made) {
  return made.stage === "Stage I" && /(^|\/)miniature\/stage_1$/.test(made.model) && !made["negative prompt"] && made.sampler !== "ddpm"
    && (made["guidance interval"] ?? "0 – 1") === "0 – 1";
}

// By section, as the plays are.
const RUNS = {
  training: (made, panel, about) => {
    const known = about.digits && made.model === about.digits.name && about.digits.epochs.includes(Number(made.epoch));
    return known && !made.way ? { play: "digits", fields: { "trained up to": made.epoch, ...walkOf(made) } } : null; // a sheet has many seeds
  },
  sampling: (made, panel, about) => {
    const shown = asked(made.prompt, about);
    return shown && ofMiniature(made) ? { play: "colours", fields: { ...shown, ...walkOf(made), seed: made.seed } } : null;
  },
  guidance: (...what) => RUNS.sampling(...what),
  visual_anagram: (made, panel, about) => {
    const figure = panel.closest(".figure");
    const readings = [...(figure.querySelector(".flips li")?.querySelectorAll(".panel") ?? [])];
    const views = readings.map((one) => Object.fromEntries(madeOf(one)).view);
    const first = asked(words(readings[0] ?? panel, ".label"), about), second = asked(words(readings[1] ?? panel, ".label"), about);
    const seen = (colour) => (views[1] === "negate" ? negative(about, colour) : colour);
    const alike = first && second && seen(first.colour) === second.colour && seen(first.background) === second.background;
    const stage_1 = [...figure.querySelectorAll(".block .panel:first-child")].map((one) => Object.fromEntries(madeOf(one))).find(ofMiniature);
    const known = views.length === 2 && views[0] === "identity" && VIEWS.some(([name]) => name === views[1]);
    if (!known || !alike || !stage_1 || made.away) return null;
    return { play: "anagram", fields: { ...first, "and, seen otherwise": second.digit, view: views[1], ...walkOf(stage_1), seed: made.seed } };
  },
};

// The fields of a prompt that the miniature understands; null for any other.
function asked(text, about) {
  const [, colour, digit, background] = /^an? (\w+) (\w+) on an? (\w+) background$/.exec(text ?? "") ?? [];
  const { names, digits } = about.colours;
  const known = names.includes(colour) && names.includes(background) && digits.includes(digit);
  return known ? { colour, digit: String(digits.indexOf(digit)), background } : null;
}

function runHere({ play, fields }) {
  document.getElementById("details").close();
  const place = document.querySelector(`[data-play="${play}"]`);
  const fill = () => {
    const form = place.querySelector("form");
    for (const [name, value] of Object.entries(fields)) {
      form.elements[name].value = value;
      form.elements[name].dispatchEvent(new Event("input"));
    }
    place.scrollIntoView({ block: "start" });
    place.querySelector("summary").focus({ preventScroll: true });
    form.requestSubmit();
  };
  if (place.open) { fill(); return; }
  place.addEventListener("toggle", fill, { once: true }); // after the one that makes the play
  place.open = true;
}

// --- a canvas to draw on, with pointer or keys ---

function makeBoard(size, colour = "#ffffff") {
  const under = element("canvas", { class: "picture pixelated", width: size, height: size, "aria-hidden": "true" });
  const canvas = element("canvas", { class: "picture pixelated board", width: size, height: size, tabindex: 0, role: "img",
    "aria-label": "A canvas to draw on: with a pointer, or arrow keys to move and the space bar to draw" });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  let at = [size / 2, size / 2];
  const dot = ([x, y]) => { pen.fillStyle = colour; pen.beginPath(); pen.arc(x, y, 1.4, 0, 2 * Math.PI); pen.fill(); };
  const stroke = (from, to) => {
    const steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 2) || 1;
    for (let i = 0; i <= steps; i++) dot([from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps]);
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * size, ((event.clientY - box.top) / box.height) * size];
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); at = place(event); dot(at); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons) { const to = place(event); stroke(at, to); at = to; } });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] }[event.key];
    if (!move) return;
    event.preventDefault();
    const to = at.map((one, i) => Math.min(size - 1, Math.max(0, one + move[i])));
    if (event.key === " " || event.shiftKey) stroke(at, to);
    at = to;
    canvas.setAttribute("aria-description", `at ${Math.round(at[0])}, ${Math.round(at[1])}`);
  });
  const clear = element("button", { type: "button" }, "Clear");
  clear.addEventListener("click", () => pen.clearRect(0, 0, size, size));
  return {
    panel: (name) => element("figure", { class: "panel board-panel" }, element("div", { class: "board-stack" }, under, canvas), element("figcaption", {}, `${name} (keys: arrows move, with shift or space they draw)`), clear),
    background: (fill) => fill(under),
    sketch: (places) => places.slice(1).forEach((to, i) => stroke(places[i], to)),
    empty: () => !pen.getImageData(0, 0, size, size).data.some((value) => value > 0),
    // The ink at a model's size, from -1 to 1, in all its channels.
    ink({ size: side, channels }) {
      const small = element("canvas", { width: side, height: side });
      const context = small.getContext("2d");
      context.fillRect(0, 0, side, side);
      context.drawImage(canvas, 0, 0, side, side);
      const { data } = context.getImageData(0, 0, side, side), plane = side * side;
      return Float32Array.from({ length: channels * plane }, (_, i) => Math.max(...data.slice(4 * (i % plane), 4 * (i % plane) + 3)) / 127.5 - 1);
    },
  };
}
