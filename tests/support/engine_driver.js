// Runs the page's engine for tests/unit/test_engine.py: node engine_driver.js ENGINE JOB prints what the engine makes of the job.
"use strict";

const [engine, path] = process.argv.slice(2);
const Engine = require(engine);
const job = JSON.parse(require("fs").readFileSync(path, "utf8"));
const floats = (values) => Float32Array.from(values);
const tensors = (name) => Engine.decode(job.weights[name].text, job.weights[name].header);
const answers = {};

// A message instead of an answer, where one is refused.
function refusal(call) {
  try {
    call();
  } catch (error) {
    return error.message;
  }
  return null;
}

async function walked(states) {
  const all = [];
  for await (const state of states) all.push(state);
  return all;
}

async function main() {
  // decode, noise, schedules, timesteps
  answers.decode = Object.fromEntries(Object.entries(tensors("numbers")).map(([name, { data }]) =>
    [name, Array.from(data, String)]));
  answers.noise = job.noise.map(({ seed, sizes }) => {
    const generator = Engine.generator(seed);
    return sizes.map((n) => generator.normal(n));
  });
  const ofIF = Engine.ofScheduler(job.scheduler);
  const schedules = { cosine: Engine.cosine(300), if: ofIF, linear: Engine.linear(1000) };
  answers.levels = Object.fromEntries(Object.entries(schedules).map(([name, schedule]) =>
    [name, Array.from({ length: schedule.T + 1 }, (_, i) => schedule.levels(i - 1))]));
  answers.timesteps = job.timesteps.map(([spacing, T, n]) => Engine.timesteps(spacing, T, n));
  answers.pairs = job.starts.map((start) => Engine.pairs(Engine.timesteps("trailing", 1000, 7), start));

  // the networks
  const small = Engine.smallUNet(tensors("small"), { schedule: schedules.cosine, width: 32 });
  const map = Engine.smallUNet(tensors("map"), { schedule: schedules.cosine, width: 32 });
  const stage = Engine.ifUNet(tensors("stage_1"), job.unet, ofIF);
  const encode = Engine.textEncoder(tensors("text_encoder"), job.text_encoder);
  answers.small = job.small.t.map((t) => small(floats(job.small.x), t, job.small.labels));
  answers.map = job.small.pairs.map(([t, tNext]) => map(floats(job.small.x), t, job.small.labels, tNext));
  answers.ids = job.prompts.map((prompt) => Engine.tokenize(prompt, job.vocabulary));
  const embeds = answers.ids.map(encode);
  answers.embeds = embeds;
  answers.stage_1 = job.stage_1.t.map((t) => stage(floats(job.stage_1.x), t, [embeds[0], embeds[2]]));
  answers.refused = {
    config: refusal(() => Engine.ifUNet(tensors("stage_1"), job.unet_2, ofIF)),
    draw: refusal(() => Engine.generator(0).normal(15)),
    spacing: refusal(() => Engine.timesteps("linspace", 10, 5)),
  };

  // views
  answers.views = Object.fromEntries(Object.entries(Engine.views).map(([name, { view, inverse, inverseVariance }]) =>
    [name, job.views.map((x) => [view, inverse, inverseVariance].map((one) => one(floats(x))))]));

  // walks of the MNIST network
  let breaths = 0;
  const breathe = async () => { breaths += 1; };
  const digit = (x, t) => Engine.predict(small, x, t, [{ cond: job.walk.label }], job.walk.guidance, 10, breathe);
  answers.walks = {};
  for (const sampler of job.walk.samplers) {
    const generator = Engine.generator(job.walk.seed), x = generator.normal(784);
    const pairs = Engine.pairs(Engine.timesteps("trailing", 300, job.walk.steps));
    const how = { schedule: schedules.cosine, predict: digit, x, pairs, sampler, generator, threshold: Engine.clip(-1, 1) };
    answers.walks[sampler] = await walked(Engine.denoise(how));
  }
  answers.numbers = {};
  for (const sampler of job.walk.samplers) { // the best answer in place of a network
    const generator = Engine.generator(job.walk.seed), x = generator.normal(job.numbers.count);
    const pairs = Engine.pairs(Engine.timesteps("trailing", 300, job.walk.steps));
    const best = (x_t, t) => Engine.predict(Engine.perfectDenoiser(schedules.cosine), x_t, t, [{ cond: job.numbers.points }]);
    answers.numbers[sampler] = await walked(Engine.denoise({ schedule: schedules.cosine, predict: best, x, pairs, sampler, generator }));
  }
  answers.breaths = breaths;
  answers.inverted = await Engine.ddimInversion({
    schedule: schedules.cosine,
    predict: (x, t) => Engine.predict(small, x, t, [{ cond: job.walk.label }]),
    x_0: floats(job.inversion.x_0),
    timesteps: job.inversion.timesteps,
    generator: Engine.generator(job.walk.seed),
  });

  // tasks of stage I
  const steps = Engine.pairs(Engine.timesteps("trailing", 1000, job.tasks.steps));
  async function task(branches, { sampler = "ddpm", image = null, mask = null } = {}) {
    const generator = Engine.generator(0), x = generator.normal(768);
    const predict = (x, t) => Engine.predict(stage, x, t, branches, job.tasks.guidance, embeds[2]);
    const constraint = image && Engine.putBack(ofIF, floats(image), mask, generator);
    const how = { schedule: ofIF, predict, x, pairs: steps, sampler, generator, threshold: ofIF.threshold, constraint };
    return (await walked(Engine.denoise(how))).at(-1).x_t;
  }
  answers.tasks = { text_to_image: await task([{ cond: embeds[0] }]) };
  answers.tasks.sde_dpm_solver = await task([{ cond: embeds[0] }], { sampler: "sde_dpm_solver" });
  for (const view of job.tasks.views) {
    answers.tasks[view] = await task([{ cond: embeds[0], part: 0.5 }, { cond: embeds[1], part: 0.5, view: Engine.views[view] }]);
  }
  answers.tasks.inpainting = await task([{ cond: embeds[0] }], job.tasks.inpainting);

  // judges
  const readDigit = Engine.digitReader(tensors("classifier")), readPicture = Engine.pictureReader(tensors("judge"));
  answers.digits = job.digits.map((x) => readDigit(floats(x)));
  answers.pictures = job.pictures.map((x) => readPicture(floats(x)));
}

main().then(() => {
  const plain = (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
  process.stdout.write(JSON.stringify(answers, plain));
});
