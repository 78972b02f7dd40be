// A diffusion of single numbers. The best answer of a network can be computed here, so there is none; the loop is engine.js's.
"use strict";

const WALKERS = 24; // numbers that are drawn
const PLOT = { width: 400, height: 275, left: 66, right: 388, top: 14, bottom: 229 }; // as in fun/reporting/charts.py
const MOST = 3; // noise of one lies in -3 to 3, nearly all of it
const HELD = Float32Array.from({ length: 241 }, (_, i) => -MOST + (i * MOST) / 120); // what the loop may hold, from -3 to 3

PLAYS.number = (place) => {
  const schedule = Engine.cosine(1000), network = Engine.perfectDenoiser(schedule);
  const typed = (value, more) => element("input", { type: "text", value, maxlength: 80, autocomplete: "off", ...more });
  const data = typed("-1, 1"), meant = typed("", { placeholder: "all of them" }), guidance = range(1, 8, 1, 0.5);
  const steps = range(1, 40, 20), sampler = choice(SAMPLERS, "ddpm"), seed = number(1), time = range(0.01, 0.99, 0.8, 0.01);
  const example = element("button", { type: "button" }, "A prompt, guided");
  const form = element(
    "form", { class: "play-form" }, field("the data", data), field("steps", steps.made, steps.shown), field("sampler", sampler), field("seed", seed),
    field("the prompt means", meant), field("guidance", guidance.made, guidance.shown), element("div", { class: "play-buttons" }, example),
  );
  const walks = drawing("Lines from noise, on the left, to numbers of the data, on the right"), answer = drawing("The best answer of one step, for each number that the loop may hold");
  const told = element("p", { class: "play-told", role: "status" });
  const chart = (title, plot) => element("div", { class: "block-chart" }, element("h4", {}, title), plot);
  place.append(element(
    "div", { class: "play-body" },
    element("p", {}, "Let a picture have one pixel, and the data be the numbers below. Then the answer with the least squared error can be computed: a mean of the data, each counting as much as it is likely to be under the noise. The loop is the one that draws all pictures here."),
    form,
    element("div", {}, chart("From noise to data", walks), chart("What one step answers", answer)),
    element("div", { class: "play-stage" }, field("noise, t / T", time.made, time.shown), told),
    element("p", { class: "note" }, "Shaded: where noised data lie. A line has the colour of the number that it ends at. With much noise the best answer is always about the mean of the data; with little it is one of them, wherever the loop is. Guidance leads away from what the prompt does not mean; the more it does, the fewer of the numbers that it means are reached: fidelity costs variety."),
  ));

  let walked = null; // what is shown: the data, and what the loop asks in each step

  async function show() {
    const points = numbers(data.value), asked = meant.value.trim() ? numbers(meant.value) : points;
    const known = asked && points && asked.every((one) => points.includes(one));
    data.setAttribute("aria-invalid", String(!points));
    meant.setAttribute("aria-invalid", String(Boolean(points && !known)));
    if (!points) { told.textContent = "The data: up to twenty numbers from −2 to 2, with commas between them."; return; }
    if (!known) { told.textContent = "The prompt means some of the data’s numbers, with commas between them."; return; }
    const generator = Engine.generator(Number(seed.value)), x = generator.normal(WALKERS), prompted = asked !== points;
    guidance.made.disabled = !prompted; // without a prompt there is nothing to be led away from
    const predict = (x_t, t) => Engine.predict(network, x_t, t, [{ cond: asked }], guidance.value, prompted ? points : null);
    const pairs = Engine.pairs(Engine.timesteps("trailing", schedule.T, steps.value));
    const states = [{ t: pairs[0][0], x_t: x }];
    for await (const state of Engine.denoise({ schedule, predict, x, pairs, sampler: sampler.value, generator })) states.push(state);
    drawWalks(walks, schedule, points, states);
    walked = { points, predict };
    await showTime();
    const mean = !prompted ? "the mean of the data" : `${guidance.value === 1 ? "" : "away from the others, beyond "}the mean of what the prompt means`;
    told.textContent = ended([...states.at(-1).x_t], points, steps.value, mean);
  }

  async function showTime() {
    if (!walked) return;
    const t = Math.round(time.value * schedule.T) - 1;
    markTime(walks, (t + 1) / schedule.T);
    drawAnswer(answer, schedule, walked.points, (await walked.predict(HELD, t)).x_0, t);
  }

  example.addEventListener("click", () => {
    [data.value, meant.value, sampler.value] = ["-1, -0.6, -0.2, 0.2, 0.6, 1", "0.2, 0.6, 1", "ddim"];
    guidance.made.value = guidance.made.value === "1" ? 3 : 1; // again: without
    guidance.made.dispatchEvent(new Event("input", { bubbles: true }));
  });
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  time.made.addEventListener("input", showTime);
  show();
};

// The numbers in a text, separated by commas or spaces; null if it has something else.
function numbers(text) {
  const found = text.replaceAll("−", "-").split(/[\s,;]+/).filter(Boolean).map(Number);
  return found.length && found.length <= 20 && found.every((one) => Math.abs(one) <= 2) ? found : null;
}

// What became of the numbers that were drawn, in words; mean: what a single step ends at.
function ended(drawn, points, steps, mean) {
  const known = [...new Set(points)].sort((a, b) => a - b), middle = drawn.reduce((sum, one) => sum + one, 0) / drawn.length;
  const at = (point) => drawn.filter((x) => Math.abs(x - point) < 0.05).length;
  const there = drawn.filter((x) => known.some((point) => Math.abs(x - point) < 0.05)).length;
  const where = known.length < 8 ? ` (${known.map((point) => `${at(point)} at ${plain(point)}`).join(", ")})` : "";
  if (steps === 1) return `One step: all ${drawn.length} end near ${plain(middle)}, ${mean}${there ? "" : ": none of the data is there"}.`;
  return `${steps} steps: ${there} of ${drawn.length} end at a number of the data${where}.`;
}

function plain(x) { return String(Math.round(100 * x) / 100).replace("-", "−"); }

// How likely x is after noising the data to t; not normalised.
function density(schedule, points, t, x) {
  const [signal, sigma] = schedule.levels(t), width = Math.max(sigma, 0.04); // so that the data themselves can be seen
  return points.reduce((sum, point) => sum + Math.exp((-((x - signal * point) ** 2)) / (2 * width ** 2)), 0) / (points.length * width);
}

// --- charts ---

function drawing(name) { return shape("svg", { class: "chart", viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": name }); }

function shape(name, attributes, ...children) { return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children); }

function scale(low, high, from, to) { return (value) => Math.round(10 * (from + ((value - low) / (high - low)) * (to - from))) / 10; }

// Both axes: [marks, place of a value, title]; returns what is drawn.
function axes([marksX, x, titleX], [marksY, y, titleY]) {
  const text = (attributes, words) => shape("text", attributes, words);
  return [
    ...marksY.map((mark) => shape("path", { class: "grid", d: `M${PLOT.left},${y(mark)}H${PLOT.right}` })),
    shape("path", { class: "axis", d: `M${PLOT.left},${PLOT.top}V${PLOT.bottom}H${PLOT.right}` }),
    ...marksX.map((mark) => text({ x: x(mark), y: PLOT.bottom + 16, "text-anchor": "middle" }, plain(mark))),
    ...marksY.map((mark) => text({ x: PLOT.left - 7, y: y(mark) + 4, "text-anchor": "end" }, plain(mark))),
    text({ class: "title", x: (PLOT.left + PLOT.right) / 2, y: PLOT.height - 8, "text-anchor": "middle" }, titleX),
    text({ class: "title", x: -(PLOT.top + PLOT.bottom) / 2, y: 14, transform: "rotate(-90)", "text-anchor": "middle" }, titleY),
  ];
}

function line(places) { return places.length ? `M${places.map((place) => place.join()).join("L")}` : ""; }

const ofTime = scale(1, 0, PLOT.left, PLOT.right); // noise is on the left

function markTime(plot, share) { plot.querySelector(".now").setAttribute("d", `M${ofTime(share)},${PLOT.top}V${PLOT.bottom}`); }

function drawWalks(plot, schedule, points, states) {
  const share = (at) => (at + 1) / schedule.T, y = scale(-MOST, MOST, PLOT.bottom, PLOT.top);
  const cells = [], columns = 44, rows = 43, height = (PLOT.bottom - PLOT.top) / rows;
  const edge = scale(0, columns - 1, PLOT.left, PLOT.right);
  for (let i = 0; i < columns; i++) {
    const at = Math.round((1 - i / (columns - 1)) * schedule.T) - 1, values = Array.from({ length: rows }, (_, j) => MOST - ((j + 0.5) * 2 * MOST) / rows);
    const likely = values.map((value) => density(schedule, points, at, value)), most = Math.max(...likely);
    const left = Math.max(PLOT.left, edge(i - 0.5)), right = Math.min(PLOT.right, edge(i + 0.5));
    likely.forEach((one, j) => {
      if (one < 0.03 * most) return;
      cells.push(shape("rect", { class: "likely", x: left, y: PLOT.top + j * height, width: right - left, height, "fill-opacity": (0.35 * one) / most }));
    });
  }
  const known = [...new Set(points)], paths = Array.from({ length: WALKERS }, (_, i) => {
    const away = known.map((point) => Math.abs(point - states.at(-1).x_t[i]));
    const colour = states.length > 2 ? `s${away.indexOf(Math.min(...away)) % 6}` : "";
    return shape("g", { class: colour }, shape("path", { class: "walk", d: line(states.map((state) => [ofTime(share(state.t)), y(state.x_t[i])])) }));
  });
  plot.replaceChildren(
    ...cells, ...axes([[1, 0.75, 0.5, 0.25, 0], ofTime, "noise, t / T"], [[-2, -1, 0, 1, 2], y, "the number that the loop holds"]), ...paths,
    shape("path", { class: "axis now" }),
  );
}

function drawAnswer(plot, schedule, points, found, t) {
  const x = scale(-MOST, MOST, PLOT.left, PLOT.right), y = scale(-MOST, MOST, PLOT.bottom, PLOT.top);
  const likely = Array.from(HELD, (value) => density(schedule, points, t, value)), most = Math.max(...likely);
  const area = line(Array.from(HELD, (value, i) => [x(value), y(-MOST + (1.5 * likely[i]) / most)]));
  plot.replaceChildren(
    shape("path", { class: "likely", "fill-opacity": 0.25, d: `${area}V${PLOT.bottom}H${PLOT.left}Z` }),
    ...axes([[-2, -1, 0, 1, 2], x, "the number that the loop holds"], [[-2, -1, 0, 1, 2], y, "the best answer"]),
    ...[...new Set(points)].map((point) => shape("path", { class: "datum", d: `M${PLOT.left},${y(point)}H${PLOT.right}` })),
    shape("path", { class: "line s1", d: line([...HELD.keys()].filter((i) => Math.abs(found[i]) <= MOST).map((i) => [x(HELD[i]), y(found[i])])) }),
  );
}
