// Samples in the browser from the networks that the page is about. It repeats, function for function, what Python has in
// fun/diffusion (schedule, guidance, sampling, views), fun/networks (SmallUNet, IFUNet), the two judges and T5's encoder.
//
// A tensor of weights is {data, shape}. All that a network computes for one sample is a Float32Array of (channels, pixels) or
// (channels, tokens); a layer knows its channels from its weights, and so the size of a square picture from its length.
//
// A prompt becomes 77 ids: in lower case, each word is one id of the vocabulary, or <unk>; then one </s>; then <pad>.
"use strict";

const Engine = (() => {
  // --- weights ---

  let halves; // the value of each of the 65,536 float16 numbers

  function float16(bits) {
    const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  // text: base64; header: {name: {offset, shape, scale?}}. A tensor with a scale for each row is int8, any other float16.
  function decode(text, header) {
    halves ??= Float32Array.from({ length: 65536 }, (_, bits) => float16(bits));
    const bytes = typeof atob === "function" ? bytesOf(atob(text)) : Buffer.from(text, "base64");
    const tensors = {};
    for (const [name, { offset, shape, scale }] of Object.entries(header)) {
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1)), row = data.length / shape[0];
      for (let i = 0; i < data.length; i++) {
        if (scale) data[i] = ((bytes[offset + i] << 24) >> 24) * scale[Math.floor(i / row)];
        else data[i] = halves[bytes[offset + 2 * i] | (bytes[offset + 2 * i + 1] << 8)];
      }
      tensors[name] = { data, shape };
    }
    return tensors;
  }

  function bytesOf(characters) {
    const bytes = new Uint8Array(characters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
    return bytes;
  }

  // --- noise: torch.randn on the CPU, so that a seed gives the page's own pictures ---

  function mersenneTwister(seed) { // mt19937
    const state = new Uint32Array(624);
    state[0] = seed;
    for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
    let next = 624;
    return () => {
      if (next === 624) {
        for (let i = 0; i < 624; i++) {
          const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
          state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
        }
        next = 0;
      }
      let y = state[next++];
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      return (y ^ (y >>> 18)) >>> 0;
    };
  }

  function generator(seed) {
    const random = mersenneTwister(seed);

    function fillUniform(data) {
      for (let i = 0; i < data.length; i++) data[i] = (random() & 0xffffff) * 2 ** -24;
    }

    function boxMuller(data) { // 16 uniform numbers become normal ones
      for (let j = 0; j < 8; j++) {
        const radius = Math.sqrt(-2 * Math.log(1 - data[j])), theta = 2 * Math.PI * data[j + 8];
        data[j] = radius * Math.cos(theta);
        data[j + 8] = radius * Math.sin(theta);
      }
    }

    function normal(n) {
      if (n < 16) throw new RangeError(`torch draws fewer than 16 numbers in another way, and these are ${n}`);
      const data = new Float32Array(n), last = data.subarray(n - 16);
      fillUniform(data);
      for (let i = 0; i + 16 <= n; i += 16) boxMuller(data.subarray(i, i + 16));
      if (n % 16) {
        fillUniform(last);
        boxMuller(last);
      }
      return data;
    }

    return { normal };
  }

  // --- schedule: fun/diffusion/schedule.py, fun/diffusion/cascade.py, fun/data/timesteps.py ---

  function ofBetas(betas) {
    let product = 1;
    const alphaBar = Array.from(betas, (beta) => (product *= 1 - beta)).concat(1); // the clean image last: t = -1
    return {
      T: betas.length,
      levels: (t) => { // [signal, sigma]
        const abar = alphaBar[t < 0 ? betas.length : t];
        return [Math.sqrt(abar), Math.sqrt(1 - abar)];
      },
    };
  }

  function linearSchedule(T, start = 1e-4, end = 0.02) {
    return ofBetas(Array.from({ length: T }, (_, i) => start + ((end - start) * i) / (T - 1)));
  }

  function cosine(T, maxBeta = 0.999) {
    const alphaBar = (i) => Math.cos((((i / T + 0.008) / 1.008) * Math.PI) / 2) ** 2;
    return ofBetas(Array.from({ length: T }, (_, i) => Math.min(1 - alphaBar(i + 1) / alphaBar(i), maxBeta)));
  }

  // What a cascade's scheduler_config.json says: a schedule, what the network predicts, and how x_0 is kept in range.
  function ofScheduler(config) {
    const schedules = {
      squaredcos_cap_v2: () => cosine(config.num_train_timesteps),
      linear: () => linearSchedule(config.num_train_timesteps, config.beta_start, config.beta_end),
    };
    if (config.trained_betas || !schedules[config.beta_schedule]) throw new Error(`unknown betas: ${config.beta_schedule}`);
    let threshold = null;
    if (config.thresholding) threshold = dynamicThreshold(config.dynamic_thresholding_ratio, config.sample_max_value);
    else if (config.clip_sample) threshold = clip(-config.clip_sample_range, config.clip_sample_range);
    return { ...schedules[config.beta_schedule](), predictionType: config.prediction_type, threshold };
  }

  // a x + b y
  function mix(a, x, b, y) {
    const mixed = new Float32Array(x.length);
    for (let i = 0; i < mixed.length; i++) mixed[i] = a * x[i] + b * y[i];
    return mixed;
  }

  function qSample(schedule, x_0, t, noise) {
    const [signal, sigma] = schedule.levels(t);
    return mix(signal, x_0, sigma, noise);
  }

  function noiseFromXStart(schedule, x_t, t, x_0) {
    const [signal, sigma] = schedule.levels(t);
    return mix(1 / sigma, x_t, -signal / sigma, x_0);
  }

  function xStartAndNoise(schedule, predictionType, x_t, t, prediction) {
    const [signal, sigma] = schedule.levels(t), power = signal ** 2 + sigma ** 2;
    if (predictionType === "epsilon") return { x_0: mix(1 / signal, x_t, -sigma / signal, prediction), noise: prediction };
    if (predictionType === "sample") return { x_0: prediction, noise: noiseFromXStart(schedule, x_t, t, prediction) };
    if (predictionType === "v_prediction") {
      return {
        x_0: mix(signal / power, x_t, -sigma / power, prediction),
        noise: mix(sigma / power, x_t, signal / power, prediction),
      };
    }
    throw new Error(`unknown prediction type ${predictionType}; known: epsilon, sample, v_prediction`);
  }

  // The variances of one step from t to tPrev: beta, and betatilde.
  function stride(schedule, t, tPrev) {
    const [signal, sigma] = schedule.levels(t), [signalPrev, sigmaPrev] = schedule.levels(tPrev);
    const beta = sigma ** 2 - ((signal / signalPrev) * sigmaPrev) ** 2;
    return [beta, beta * (sigmaPrev / sigma) ** 2];
  }

  function qPosterior(schedule, x_0, x_t, t, tPrev) { // its mean
    const [signal, sigma] = schedule.levels(t), [signalPrev, sigmaPrev] = schedule.levels(tPrev);
    const [beta] = stride(schedule, t, tPrev);
    return mix((signalPrev * beta) / sigma ** 2, x_0, (signal / signalPrev) * (sigmaPrev / sigma) ** 2, x_t);
  }

  // E[x_0 | x_t], if x_0 is one of `points`, all equally likely: of single numbers, each by itself.
  function posteriorMean(schedule, x_t, t, points) {
    const [signal, sigma] = schedule.levels(t);
    return x_t.map((x) => {
      const weights = softmax(points.map((point) => (signal * point * x - (signal * point) ** 2 / 2) / sigma ** 2));
      return weights.reduce((sum, weight, i) => sum + weight * points[i], 0);
    });
  }

  // What no network is better than, in a network's place; its condition is the points.
  function perfectDenoiser(schedule) {
    return (x_t, t, [points]) => ({ ...xStartAndNoise(schedule, "sample", x_t, t, posteriorMean(schedule, x_t, t, points)), v: null });
  }

  function timesteps(spacing, T, n) {
    const steps = Array.from({ length: n }, (_, i) => i);
    if (spacing === "leading") return steps.map((i) => i * Math.floor(T / n)).reverse();
    if (spacing === "trailing") return steps.map((i) => roundHalfEven(T - (i * T) / n) - 1);
    throw new Error(`unknown spacing ${spacing}; known: leading, trailing`);
  }

  function roundHalfEven(x) { // as Python's round
    const below = Math.floor(x);
    return x - below === 0.5 ? below + (below % 2) : Math.round(x);
  }

  // [t, tPrev] of each step. With `start` the first step begins there.
  function pairs(timesteps, start = null) {
    const all = start === null ? timesteps : [start, ...timesteps.filter((t) => t < start)];
    return all.map((t, i) => [t, i + 1 < all.length ? all[i + 1] : -1]);
  }

  // --- layers ---

  // c (m, n) = a (m, k) b (k, n), each from an index on; m >= 4. Two rows by four columns at once: their eight sums fit the
  // processor's registers. Rows and columns that are left over at the end are computed together with those before, again.
  function multiply(a, a0, b, b0, c, c0, m, k, n) {
    if (n < 4) return multiplyNarrow(a, a0, b, b0, c, c0, m, k, n);
    for (let i = 0; i < m; i += 2) {
      if (i > m - 2) i = m - 2;
      for (let j = 0; j < n; j += 4) {
        if (j > n - 4) j = n - 4;
        let p = a0 + i * k, q = b0 + j;
        let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
        for (const end = p + k; p < end; p++, q += n) {
          const a_0 = a[p], a_1 = a[p + k], b_0 = b[q], b_1 = b[q + 1], b_2 = b[q + 2], b_3 = b[q + 3];
          s00 += a_0 * b_0;
          s01 += a_0 * b_1;
          s02 += a_0 * b_2;
          s03 += a_0 * b_3;
          s10 += a_1 * b_0;
          s11 += a_1 * b_1;
          s12 += a_1 * b_2;
          s13 += a_1 * b_3;
        }
        const r = c0 + i * n + j;
        c[r] = s00;
        c[r + 1] = s01;
        c[r + 2] = s02;
        c[r + 3] = s03;
        c[r + n] = s10;
        c[r + n + 1] = s11;
        c[r + n + 2] = s12;
        c[r + n + 3] = s13;
      }
    }
  }

  function multiplyNarrow(a, a0, b, b0, c, c0, m, k, n) {
    for (let i = 0; i < m; i += 4) {
      if (i > m - 4) i = m - 4;
      for (let j = 0; j < n; j++) {
        let p = a0 + i * k, q = b0 + j, s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (const end = p + k; p < end; p++, q += n) {
          s0 += a[p] * b[q];
          s1 += a[p + k] * b[q];
          s2 += a[p + 2 * k] * b[q];
          s3 += a[p + 3 * k] * b[q];
        }
        const r = c0 + i * n + j;
        c[r] = s0;
        c[r + n] = s1;
        c[r + 2 * n] = s2;
        c[r + 3 * n] = s3;
      }
    }
  }

  function addBias(x, bias) { // in place: to each channel its own
    const area = x.length / bias.length;
    for (let c = 0, i = 0; c < bias.length; c++) for (const end = i + area; i < end; i++) x[i] += bias[c];
    return x;
  }

  // A linear layer for each column of x, with or without bias; also a convolution with a 1 x 1 kernel.
  function linear(tensors, name) {
    const { data: weight, shape: [outs, ins] } = tensors[`${name}.weight`], bias = tensors[`${name}.bias`];
    return (x) => {
      const columns = x.length / ins, out = new Float32Array(outs * columns);
      multiply(weight, 0, x, 0, out, 0, outs, ins, columns);
      return bias ? addBias(out, bias.data) : out;
    };
  }

  // A convolution with any odd kernel, padded to keep a picture's size, of which every `step`-th row and column is kept.
  function plainConvolution(tensors, name, step) {
    const { data: weight, shape: [outs, ins, kernel] } = tensors[`${name}.weight`], bias = tensors[`${name}.bias`].data;
    const reach = kernel >> 1, rows = ins * kernel * kernel;
    return (x) => {
      const size = Math.sqrt(x.length / ins), kept = Math.ceil(size / step), area = kept * kept;
      const patches = new Float32Array(rows * area), out = new Float32Array(outs * area); // patches: a column for each pixel
      for (let row = 0, to = 0; row < rows; row++) {
        const channel = Math.floor(row / kernel ** 2);
        const dy = (Math.floor(row / kernel) % kernel) - reach, dx = (row % kernel) - reach;
        for (let i = 0; i < kept; i++) {
          for (let j = 0; j < kept; j++, to++) {
            const y = i * step + dy, z = j * step + dx;
            if (y >= 0 && y < size && z >= 0 && z < size) patches[to] = x[(channel * size + y) * size + z];
          }
        }
      }
      multiply(weight, 0, patches, 0, out, 0, outs, rows, area);
      return addBias(out, bias);
    };
  }

  // A 3 x 3 convolution by Winograd's F(4 x 4, 3 x 3) (Lavin and Gray 2015, https://arxiv.org/abs/1509.09308): a tile of 6 x 6
  // input pixels and the kernel are transformed, multiplied number by number, and transformed back to 4 x 4 output pixels. That
  // takes 36 products where the sum of the nine takes 144. Over channels, each of the 36 is a product of matrices.
  function convolution(tensors, name) {
    const { data: weight, shape: [outs, ins] } = tensors[`${name}.weight`], bias = tensors[`${name}.bias`].data;
    const kernels = new Float32Array(36 * outs * ins), tile = new Float32Array(36), block = new Float32Array(16);
    for (let k = 0; k < outs * ins; k++) {
      for (let row = 0; row < 3; row++) kernelTransform(weight, k * 9 + row * 3, 1, tile, row * 6, 1);
      for (let column = 0; column < 6; column++) kernelTransform(tile, column, 6, kernels, column * outs * ins + k, 6 * outs * ins);
    }
    return (x) => {
      const size = Math.sqrt(x.length / ins), tiles = Math.ceil(size / 4), places = tiles * tiles, width = 4 * tiles + 2;
      const padded = new Float32Array(width * width), out = new Float32Array(outs * size * size);
      const inputs = scratch("inputs", 36 * ins * places), products = scratch("products", 36 * outs * places);

      for (let channel = 0; channel < ins; channel++) {
        for (let y = 0; y < size; y++) {
          for (let z = 0; z < size; z++) padded[(y + 1) * width + z + 1] = x[(channel * size + y) * size + z];
        }
        for (let place = 0; place < places; place++) {
          const from = 4 * (Math.floor(place / tiles) * width + (place % tiles)), to = channel * places + place;
          for (let row = 0; row < 6; row++) inputTransform(padded, from + row * width, 1, tile, row * 6, 1);
          for (let column = 0; column < 6; column++) {
            inputTransform(tile, column, 6, inputs, to + column * ins * places, 6 * ins * places);
          }
        }
      }
      for (let i = 0; i < 36; i++) {
        multiply(kernels, i * outs * ins, inputs, i * ins * places, products, i * outs * places, outs, ins, places);
      }
      for (let channel = 0; channel < outs; channel++) {
        for (let place = 0; place < places; place++) {
          const from = channel * places + place, top = 4 * Math.floor(place / tiles), left = 4 * (place % tiles);
          for (let column = 0; column < 6; column++) {
            outputTransform(products, from + column * outs * places, 6 * outs * places, tile, column, 6);
          }
          for (let row = 0; row < 4; row++) outputTransform(tile, row * 6, 1, block, row * 4, 1);
          const rows = Math.min(4, size - top), columns = Math.min(4, size - left);
          for (let y = 0; y < rows; y++) {
            const to = (channel * size + top + y) * size + left;
            for (let z = 0; z < columns; z++) out[to + z] = block[y * 4 + z] + bias[channel];
          }
        }
      }
      return out;
    };
  }

  // The three transforms of a row or column: from a[i], a[i + step], ... to b[j], b[j + toStep], ...
  function kernelTransform(a, i, step, b, j, toStep) { // 3 -> 6
    const even = a[i] + a[i + 2 * step], odd = a[i + step], outer = a[i] + 4 * a[i + 2 * step];
    b[j] = a[i] / 4;
    b[j + toStep] = -(even + odd) / 6;
    b[j + 2 * toStep] = -(even - odd) / 6;
    b[j + 3 * toStep] = (outer + 2 * odd) / 24;
    b[j + 4 * toStep] = (outer - 2 * odd) / 24;
    b[j + 5 * toStep] = a[i + 2 * step];
  }

  function inputTransform(a, i, step, b, j, toStep) { // 6 -> 6
    const d0 = a[i], d1 = a[i + step], d2 = a[i + 2 * step], d3 = a[i + 3 * step], d4 = a[i + 4 * step], d5 = a[i + 5 * step];
    const p = d4 - 4 * d2, q = d3 - 4 * d1, r = d4 - d2, s = 2 * (d3 - d1);
    b[j] = 4 * d0 - 5 * d2 + d4;
    b[j + toStep] = p + q;
    b[j + 2 * toStep] = p - q;
    b[j + 3 * toStep] = r + s;
    b[j + 4 * toStep] = r - s;
    b[j + 5 * toStep] = 4 * d1 - 5 * d3 + d5;
  }

  function outputTransform(a, i, step, b, j, toStep) { // 6 -> 4
    const m1 = a[i + step], m2 = a[i + 2 * step], m3 = a[i + 3 * step], m4 = a[i + 4 * step];
    b[j] = a[i] + m1 + m2 + m3 + m4;
    b[j + toStep] = m1 - m2 + 2 * (m3 - m4);
    b[j + 2 * toStep] = m1 + m2 + 4 * (m3 + m4);
    b[j + 3 * toStep] = m1 - m2 + 8 * (m3 - m4) + a[i + 5 * step];
  }

  const buffers = {};
  function scratch(name, length) { // the same memory for every layer: a network has dozens
    if (!(buffers[name]?.length >= length)) buffers[name] = new Float32Array(length);
    return buffers[name];
  }

  // scaleShift: (2 channels,), by which the embedding scales and shifts what is normalised.
  function groupNorm(tensors, name, groups, eps = 1e-5) {
    const weight = tensors[`${name}.weight`].data, bias = tensors[`${name}.bias`].data, channels = weight.length;
    return (x, scaleShift = null) => {
      const out = new Float32Array(x.length), area = x.length / channels, size = x.length / groups;
      for (let first = 0; first < x.length; first += size) {
        let total = 0, squares = 0;
        for (let i = first; i < first + size; i++) total += x[i];
        const mean = total / size;
        for (let i = first; i < first + size; i++) squares += (x[i] - mean) ** 2;
        const deviation = Math.sqrt(squares / size + eps);
        for (let i = first; i < first + size; ) {
          const c = i / area;
          let factor = weight[c] / deviation, offset = bias[c] - mean * factor;
          if (scaleShift) {
            factor *= 1 + scaleShift[c];
            offset = offset * (1 + scaleShift[c]) + scaleShift[channels + c];
          }
          for (const end = i + area; i < end; i++) out[i] = x[i] * factor + offset;
        }
      }
      return out;
    };
  }

  function layerNorm(tensors, name) { // of each column
    const weight = tensors[`${name}.weight`].data, bias = tensors[`${name}.bias`].data, channels = weight.length;
    return (x) => mapColumns(x, channels, (column) => {
      const mean = column.reduce((a, b) => a + b, 0) / channels;
      const variance = column.reduce((a, b) => a + (b - mean) ** 2, 0) / channels;
      return column.map((value, c) => ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[c] + bias[c]);
    });
  }

  function mapColumns(x, channels, change) {
    const columns = x.length / channels, out = new Float32Array(x.length);
    for (let j = 0; j < columns; j++) {
      const column = Float32Array.from({ length: channels }, (_, c) => x[c * columns + j]);
      change(column).forEach((value, c) => { out[c * columns + j] = value; });
    }
    return out;
  }

  // Activations change an array in place and return it: called for each number, they would cost more than they compute.
  function silu(x) {
    for (let i = 0; i < x.length; i++) x[i] /= 1 + Math.exp(-x[i]);
    return x;
  }

  function gelu(x) {
    for (let i = 0; i < x.length; i++) x[i] *= normalCdf(x[i]);
    return x;
  }

  function normalCdf(x) { // Abramowitz and Stegun, 7.1.26, off by less than 1e-7
    const z = Math.abs(x) * Math.SQRT1_2, t = 1 / (1 + 0.3275911 * z);
    const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    const tail = 0.5 * series * Math.exp(-z * z);
    return x > 0 ? 1 - tail : tail;
  }

  function geluTanh(x) { // T5's gelu_new
    for (let i = 0; i < x.length; i++) x[i] *= 0.5 + 0.5 * Math.tanh(Math.sqrt(2 / Math.PI) * (x[i] + 0.044715 * x[i] ** 3));
    return x;
  }

  function relu(x) {
    for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] = 0;
    return x;
  }

  const ACTIVATIONS = { gelu, silu, swish: silu };

  function softmax(x) { // in place
    const largest = x.reduce((a, b) => Math.max(a, b), -Infinity);
    let total = 0;
    for (let i = 0; i < x.length; i++) total += x[i] = Math.exp(x[i] - largest);
    for (let i = 0; i < x.length; i++) x[i] /= total;
    return x;
  }

  function sum(x, y) { // into x
    for (let i = 0; i < x.length; i++) x[i] += y[i];
    return x;
  }

  function joined(...parts) { // one after the other: of pictures, their channels
    const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  function joinedColumns(x, y, channels) { // (channels, n) and (channels, m) -> (channels, n + m)
    const n = x.length / channels, m = y.length / channels, out = new Float32Array(x.length + y.length);
    for (let c = 0; c < channels; c++) {
      out.set(x.subarray(c * n, (c + 1) * n), c * (n + m));
      out.set(y.subarray(c * m, (c + 1) * m), c * (n + m) + n);
    }
    return out;
  }

  function transposed(x, rows) { // (rows, columns) -> (columns, rows)
    const columns = x.length / rows, out = new Float32Array(x.length);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = x[i * columns + j];
    return out;
  }

  // q (channels, n) attends to the first `count` columns of k and v, by default to all; bias: (head, query, key) -> a number that
  // is added to a score.
  function attend(q, k, v, channels, heads, { scale = Math.sqrt(heads / channels), count = null, bias = null } = {}) {
    const n = q.length / channels, keys = k.length / channels, depth = channels / heads;
    const out = new Float32Array(q.length), scores = new Float32Array(count ?? keys);
    for (let head = 0; head < heads; head++) {
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < scores.length; j++) scores[j] = bias ? bias(head, i, j) : 0;
        for (let c = head * depth; c < (head + 1) * depth; c++) {
          const query = q[c * n + i] * scale;
          for (let j = 0; j < scores.length; j++) scores[j] += query * k[c * keys + j];
        }
        softmax(scores);
        for (let c = head * depth; c < (head + 1) * depth; c++) {
          let total = 0;
          for (let j = 0; j < scores.length; j++) total += scores[j] * v[c * keys + j];
          out[c * n + i] = total;
        }
      }
    }
    return out;
  }

  function pixelShuffle(x, channels) { // (4 channels, H, W) -> (channels, 2 H, 2 W)
    const size = Math.sqrt(x.length / (4 * channels)), out = new Float32Array(x.length);
    eachPixel(channels, size, (folded, unfolded) => { out[unfolded] = x[folded]; });
    return out;
  }

  function pixelUnshuffle(x, channels) { // the way back
    const size = Math.sqrt(x.length / channels) / 2, out = new Float32Array(x.length);
    eachPixel(channels, size, (folded, unfolded) => { out[folded] = x[unfolded]; });
    return out;
  }

  // visit(index in (4 channels, size, size), index in (channels, 2 size, 2 size)) for each pixel
  function eachPixel(channels, size, visit) {
    for (let i = 0, c = 0; c < 4 * channels; c++) {
      const plane = (c >> 2) * 2 * size, dy = (c >> 1) & 1, dx = c & 1;
      for (let y = 0; y < size; y++) for (let z = 0; z < size; z++, i++) visit(i, (plane + 2 * y + dy) * 2 * size + 2 * z + dx);
    }
  }

  // A network of one sample, (x, t, cond, ...) -> {x_0, noise, v}, as one of a batch: x of N samples, and N conds.
  function batched(one) {
    return (x, t, conds, ...rest) => {
      const length = x.length / conds.length;
      const answers = Array.from(conds, (cond, i) => one(x.subarray(i * length, (i + 1) * length), t, cond, ...rest));
      const all = (what) => (answers[0][what] === null ? null : joined(...answers.map((answer) => answer[what])));
      return { x_0: all("x_0"), noise: all("noise"), v: all("v") };
    };
  }

  // --- the small U-Net: SmallUNet of fun/networks/mnist_unets.py ---

  function smallBlock(tensors, name) {
    const [outs, ins] = tensors[`${name}.conv_1.weight`].shape;
    const norm_1 = groupNorm(tensors, `${name}.norm_1`, ins / 16), conv_1 = convolution(tensors, `${name}.conv_1`);
    const norm_2 = groupNorm(tensors, `${name}.norm_2`, outs / 16), conv_2 = convolution(tensors, `${name}.conv_2`);
    const scaleShift = linear(tensors, `${name}.scale_shift`);
    const skip = ins === outs ? (x) => x : linear(tensors, `${name}.skip`);
    return (x, embedding) => {
      const h = conv_1(silu(norm_1(x)));
      return sum(conv_2(silu(norm_2(h, scaleShift(embedding)))), skip(x));
    };
  }

  // network(x, t, labels), and for a flow map network(x, t, labels, tNext)
  function smallUNet(tensors, { schedule, predictionType = "sample" }) {
    const perceptron = (name) => {
      const first = linear(tensors, `${name}.0`), second = linear(tensors, `${name}.2`);
      return (x) => second(silu(first(x)));
    };
    const block = (name) => smallBlock(tensors, name), width = tensors["stem.weight"].shape[0];
    const timeEmbedding = perceptron("time_embedding"), classes = tensors["class_embedding.weight"]?.data;
    const nextEmbedding = tensors["next_embedding.0.weight"] ? perceptron("next_embedding") : null;
    const stem = convolution(tensors, "stem"), downBlock = block("down_block"), down = plainConvolution(tensors, "down", 2);
    const middleBlocks = [0, 1, 2].map((i) => block(`middle_blocks.${i}`));
    const up = linear(tensors, "up"), upBlock = block("up_block");
    const norm = groupNorm(tensors, "norm", width / 16), output = convolution(tensors, "output");

    return batched((x_t, t, label, tNext) => {
      const embedding = timeEmbedding(waves(t / schedule.T));
      if (nextEmbedding) sum(embedding, nextEmbedding(waves(tNext / schedule.T)));
      if (classes) sum(embedding, classes.subarray(label * embedding.length, (label + 1) * embedding.length));
      silu(embedding); // (128,)

      let x = stem(pixelUnshuffle(x_t, 1)); // (32, 14, 14)
      const skip = (x = downBlock(x, embedding));
      x = down(x); // (64, 7, 7)
      for (const middle of middleBlocks) x = middle(x, embedding);
      x = pixelShuffle(up(x), width); // (32, 14, 14)
      x = upBlock(joined(x, skip), embedding);
      const prediction = pixelShuffle(output(silu(norm(x))), 1);
      return { ...xStartAndNoise(schedule, predictionType, x_t, t, prediction), v: null };
    });
  }

  // Rounded to float32 as in Python: the fastest wave turns a thousand radians, where rounding can be seen.
  function waves(time) {
    const frequency = (i) => Math.fround(10 ** Math.fround(Math.fround(3 / 31) * i));
    const angles = Array.from({ length: 32 }, (_, i) => Math.fround(Math.fround(time) * frequency(i)));
    return Float32Array.from([...angles.map(Math.sin), ...angles.map(Math.cos)]);
  }

  // --- IF's U-Net: fun/networks/if_unet.py, for a first stage ---

  const DOWN = ["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"]; // without and with attention, here and below
  const UP = ["ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D"];
  const REQUIRED = { // of a config; what is not here or below does not matter to IF's network
    addition_embed_type: "text",
    center_input_sample: false,
    class_embed_type: null,
    cross_attention_norm: "group_norm",
    encoder_hid_dim_type: "text_proj",
    flip_sin_to_cos: true,
    freq_shift: 0,
    mid_block_only_cross_attention: null,
    mid_block_type: "UNetMidBlock2DSimpleCrossAttn",
    only_cross_attention: false,
    resnet_time_scale_shift: "scale_shift",
    time_embedding_type: "positional",
  };

  function checkConfig(c) {
    const wrong = Object.keys(REQUIRED).filter((name) => c[name] !== REQUIRED[name]);
    const integers = ["attention_head_dim", "layers_per_block", "norm_num_groups", "addition_embed_type_num_heads"];
    wrong.push(...integers.filter((name) => !Number.isInteger(c[name])));
    if (!ACTIVATIONS[c.act_fn]) wrong.push("act_fn");
    if (c.time_embedding_act_fn !== null && !ACTIVATIONS[c.time_embedding_act_fn]) wrong.push("time_embedding_act_fn");
    if (c.down_block_types.some((type) => !DOWN.includes(type))) wrong.push("down_block_types");
    if (c.up_block_types.some((type) => !UP.includes(type))) wrong.push("up_block_types");
    if (wrong.length) throw new Error(`not a network that this engine knows: ${wrong.map((name) => `${name}: ${c[name]}`)}`);
  }

  function ifBlock(tensors, name, c, scale, resample = null) {
    const act = ACTIVATIONS[c.act_fn], ins = tensors[`${name}.conv1.weight`].shape[1];
    const norm = (which) => groupNorm(tensors, `${name}.${which}`, c.norm_num_groups, c.norm_eps);
    const norm1 = norm("norm1"), conv1 = convolution(tensors, `${name}.conv1`);
    const norm2 = norm("norm2"), conv2 = convolution(tensors, `${name}.conv2`);
    const timeEmbProj = linear(tensors, `${name}.time_emb_proj`);
    const shortcut = tensors[`${name}.conv_shortcut.weight`] ? linear(tensors, `${name}.conv_shortcut`) : (x) => x;
    return (x, embedding) => {
      let h = act(norm1(x));
      if (resample) [x, h] = [resample(x, ins), resample(h, ins)];
      h = conv1(h);
      const scaleShift = timeEmbProj(c.resnet_skip_time_act ? embedding : act(embedding.slice()));
      h = sum(conv2(act(norm2(h, scaleShift))), shortcut(x));
      return scale === 1 ? h : h.map((value) => value / scale);
    };
  }

  // Every pixel attends to the tokens of the prompt and to all pixels, in one softmax.
  function ifAttention(tensors, name, c) {
    const channels = tensors[`${name}.to_q.weight`].shape[0], heads = channels / c.attention_head_dim;
    const layer = (last) => linear(tensors, `${name}.${last}`);
    const toQ = layer("to_q"), toK = layer("to_k"), toV = layer("to_v"), toOut = layer("to_out.0");
    const addK = layer("add_k_proj"), addV = layer("add_v_proj");
    const norm = groupNorm(tensors, `${name}.group_norm`, c.norm_num_groups);
    const normCross = groupNorm(tensors, `${name}.norm_cross`, 32);
    return {
      read: (tokens) => { // keys and values of a prompt
        const normed = normCross(tokens);
        return [addK(normed), addV(normed)];
      },
      forward: (x, [promptKeys, promptValues]) => {
        const pixels = norm(x);
        const k = joinedColumns(promptKeys, toK(pixels), channels), v = joinedColumns(promptValues, toV(pixels), channels);
        return sum(toOut(attend(toQ(pixels), k, v, channels, heads)), x);
      },
    };
  }

  // A prompt as one vector: its tokens, pooled by the attention that their mean pays to them.
  function textEmbedding(tensors, name, heads) {
    const norm1 = layerNorm(tensors, `${name}.norm1`), norm2 = layerNorm(tensors, `${name}.norm2`);
    const proj = linear(tensors, `${name}.proj`);
    const [toQ, toK, toV] = ["q", "k", "v"].map((which) => linear(tensors, `${name}.pool.${which}_proj`));
    const position = tensors[`${name}.pool.positional_embedding`].data, channels = position.length;
    return (embeds) => {
      const tokens = norm1(embeds), count = tokens.length / channels;
      const total = (c) => tokens.subarray(c * count, (c + 1) * count).reduce((a, b) => a + b, 0);
      const mean = position.map((value, c) => value + total(c) / count);
      const all = joinedColumns(mean, tokens, channels);
      return norm2(proj(attend(toQ(mean), toK(all), toV(all), channels, heads)));
    };
  }

  // network(x, t, conds), where a cond is a prompt's embedding (77, 64)
  function ifUNet(tensors, config, schedule, predictionType = schedule.predictionType) {
    checkConfig(config);
    const c = config, act = ACTIVATIONS[c.act_fn], levels = c.block_out_channels.length, attentions = [];
    // The layers of one level, functions (x, embedding, prompt) -> x: residual blocks, some with attention, and one that resamples.
    function level(name, blocks, attending, scale, resampler = null, resample = null) {
      const layers = Array.from({ length: blocks }, (_, i) => {
        const block = ifBlock(tensors, `${name}.resnets.${i}`, c, scale);
        if (i >= attending) return block;
        const attention = ifAttention(tensors, `${name}.attentions.${i}`, c), at = attentions.push(attention) - 1;
        return (x, embedding, prompt) => attention.forward(block(x, embedding), prompt.keysValues[at]);
      });
      if (resampler) layers.push(ifBlock(tensors, `${name}.${resampler}.0`, c, scale, resample));
      return layers;
    }

    const linear1 = linear(tensors, "time_embedding.linear_1"), linear2 = linear(tensors, "time_embedding.linear_2");
    const hidProj = linear(tensors, "encoder_hid_proj");
    const addEmbedding = textEmbedding(tensors, "add_embedding", c.addition_embed_type_num_heads);
    const convIn = convolution(tensors, "conv_in"), outScale = c.resnet_out_scale_factor, n = c.layers_per_block;
    const downBlocks = c.down_block_types.map((type, i) =>
      level(`down_blocks.${i}`, n, type === DOWN[1] ? n : 0, outScale, i < levels - 1 && "downsamplers", halved));
    const midBlock = level("mid_block", 2, 1, c.mid_block_scale_factor);
    const upBlocks = c.up_block_types.map((type, i) =>
      level(`up_blocks.${i}`, n + 1, type === UP[1] ? n + 1 : 0, outScale, i < levels - 1 && "upsamplers", doubled));
    const normOut = groupNorm(tensors, "conv_norm_out", c.norm_num_groups, c.norm_eps), convOut = convolution(tensors, "conv_out");

    const known = new WeakMap(); // what the network computes of a prompt alone: once, not in every step
    function readPrompt(embeds) {
      if (!known.has(embeds)) {
        const columns = transposed(embeds, embeds.length / c.encoder_hid_dim), tokens = hidProj(columns);
        known.set(embeds, { embedding: addEmbedding(columns), keysValues: attentions.map(({ read }) => read(tokens)) });
      }
      return known.get(embeds);
    }

    function forward(x, t, prompt) {
      const embedding = sum(linear2(act(linear1(sinusoids(t, c.block_out_channels[0] / 2)))), prompt.embedding);
      if (c.time_embedding_act_fn) ACTIVATIONS[c.time_embedding_act_fn](embedding);
      x = convIn(x);
      const skips = [x];
      for (const layer of downBlocks.flat()) skips.push((x = layer(x, embedding, prompt)));
      for (const layer of midBlock) x = layer(x, embedding, prompt);
      for (const layers of upBlocks) {
        layers.forEach((layer, i) => { x = layer(i > n ? x : joined(x, skips.pop()), embedding, prompt); }); // i > n: the upsampler
      }
      return convOut(act(normOut(x)));
    }

    return batched((x, t, embeds) => {
      const output = forward(x, t, readPrompt(embeds)), prediction = output.subarray(0, x.length);
      const v = output.length > x.length ? output.slice(x.length) : null;
      return { ...xStartAndNoise(schedule, predictionType, x, t, prediction), v };
    });
  }

  function sinusoids(t, half) {
    const step = Math.fround(-Math.log(10000) / half);
    const angles = Array.from({ length: half }, (_, i) => Math.fround(t * Math.fround(Math.exp(Math.fround(step * i)))));
    return Float32Array.from([...angles.map(Math.cos), ...angles.map(Math.sin)]);
  }

  function halved(x, channels) { // means of 2 x 2
    const width = Math.sqrt(x.length / channels), out = new Float32Array(x.length / 4);
    for (let i = 0; i < out.length; i++) {
      const at = 2 * (Math.floor(i / (width / 2)) * width + (i % (width / 2)));
      out[i] = (x[at] + x[at + 1] + x[at + width] + x[at + width + 1]) / 4;
    }
    return out;
  }

  function doubled(x, channels) { // each pixel four times
    const width = Math.sqrt(x.length / channels), out = new Float32Array(x.length * 4);
    for (let i = 0; i < out.length; i++) out[i] = x[(i >> 1) % width + Math.floor(i / (4 * width)) * width];
    return out;
  }

  // --- the text encoder: T5's, of transformers, as fun/diffusion/text_encoder.py calls it ---

  const TOKENS = 77; // of every prompt, as in IF

  // vocabulary: {piece: id}. A word is its longest beginning that is a piece, and <unk> for the rest, as the tokenizer splits it.
  function tokenize(prompt, vocabulary) {
    const ids = [];
    for (const word of prompt.toLowerCase().split(/\s+/).filter(Boolean)) {
      let piece = `▁${word}`;
      while (piece && !Object.hasOwn(vocabulary, piece)) piece = piece.slice(0, -1);
      if (piece) ids.push(vocabulary[piece]);
      if (piece.length < word.length + 1) ids.push(vocabulary["<unk>"]);
    }
    return padded([...ids.slice(0, TOKENS - 1), vocabulary["</s>"]], vocabulary["<pad>"]);
  }

  function padded(ids, pad) { return Array.from({ length: TOKENS }, (_, i) => ids[i] ?? pad); }

  // encode(ids) -> (77, 64). Padding is not attended to, but attends itself, and what comes of it is part of the result.
  function textEncoder(tensors, config) {
    if (config.feed_forward_proj !== "gated-gelu") throw new Error(`not IF's text encoder: ${config.feed_forward_proj}`);
    const { d_model: channels, d_kv: depth, num_heads: heads, num_layers: blocks } = config;
    const { layer_norm_epsilon: eps, pad_token_id: pad, relative_attention_num_buckets: buckets } = config;
    const words = tensors["shared.weight"].data;
    const distances = tensors["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].data;
    const layers = Array.from({ length: blocks }, (_, i) => {
      const name = `encoder.block.${i}.layer`, attention = (which) => linear(tensors, `${name}.0.SelfAttention.${which}`);
      return {
        norm1: rmsNorm(tensors, `${name}.0.layer_norm`, eps),
        norm2: rmsNorm(tensors, `${name}.1.layer_norm`, eps),
        ...{ q: attention("q"), k: attention("k"), v: attention("v"), o: attention("o") },
        ...Object.fromEntries(["wi_0", "wi_1", "wo"].map((last) => [last, linear(tensors, `${name}.1.DenseReluDense.${last}`)])),
      };
    });
    const finalNorm = rmsNorm(tensors, "encoder.final_layer_norm", eps);
    const bucket = (distance) => distanceBucket(distance, buckets, config.relative_attention_max_distance);
    const bias = (head, query, key) => distances[bucket(key - query) * heads + head];

    return (ids) => {
      const all = padded(ids, pad), count = all.findLastIndex((id) => id !== pad) + 1;
      let x = transposed(joined(...all.map((id) => words.subarray(id * channels, (id + 1) * channels))), TOKENS);
      for (const { norm1, norm2, q, k, v, o, wi_0, wi_1, wo } of layers) {
        const h = norm1(x);
        x = sum(o(attend(q(h), k(h), v(h), heads * depth, heads, { scale: 1, count, bias })), x);
        const normed = norm2(x), linearPart = wi_1(normed);
        x = sum(wo(geluTanh(wi_0(normed)).map((value, i) => value * linearPart[i])), x);
      }
      return transposed(finalNorm(x), channels);
    };
  }

  function rmsNorm(tensors, name, eps) { // of each column; T5's layer_norm takes no mean away
    const weight = tensors[`${name}.weight`].data, channels = weight.length;
    return (x) => mapColumns(x, channels, (column) => {
      const power = column.reduce((a, b) => a + b * b, 0) / channels;
      return column.map((value, c) => (value / Math.sqrt(power + eps)) * weight[c]);
    });
  }

  // Small distances have a bucket each, larger ones share one, on a log scale; half of the buckets are for keys to the right.
  function distanceBucket(distance, buckets, maxDistance) {
    const half = buckets / 2, exact = half / 2, d = Math.abs(distance), side = distance > 0 ? half : 0;
    if (d < exact) return side + d;
    const share = Math.log(d / exact) / Math.log(maxDistance / exact);
    return side + Math.min(half - 1, exact + Math.floor(share * (half - exact)));
  }

  // --- views: fun/diffusion/views.py ---

  const SOURCES = { // from where the pixel at (row, column) comes, if the last row and column are `last`
    rotate_180: (row, column, last) => [last - row, last - column],
    rotate_90_cw: (row, column, last) => [last - column, row],
    rotate_90_ccw: (row, column, last) => [column, last - row],
    flip_vertical: (row, column, last) => [last - row, column],
    flip_horizontal: (row, column, last) => [row, last - column],
  };

  function moved(x, source, back) {
    const side = Math.sqrt(x.length), size = Number.isInteger(side) ? side : Math.sqrt(x.length / 3); // one channel or three
    const out = new Float32Array(x.length);
    for (let i = 0; i < x.length; i++) {
      const plane = i - (i % size ** 2), [row, column] = source(Math.floor(i / size) % size, i % size, size - 1);
      const from = plane + row * size + column;
      if (back) out[from] = x[i];
      else out[i] = x[from];
    }
    return out;
  }

  const same = (x) => x, negated = (x) => x.map((value) => -value);
  const views = {
    identity: { view: same, inverse: same, inverseVariance: same },
    negate: { view: negated, inverse: negated, inverseVariance: same }, // a variance never changes its sign
  };
  for (const [name, source] of Object.entries(SOURCES)) {
    const inverse = (x) => moved(x, source, true);
    views[name] = { view: (x) => moved(x, source, false), inverse, inverseVariance: inverse };
  }

  // --- guidance: fun/diffusion/guidance.py, for one sample ---

  // branches: [{cond, view, part}]: a label or an embedding, one of `views` (or its name), and the weight of what it predicts.
  // breathe: awaited after each call of the network, so that the page can draw.
  async function predict(network, x, t, branches, guidance = 1, unconditional = null, breathe = () => {}) {
    const guided = unconditional !== null && guidance !== 1, unconditionalAt = new Map();
    const total = { x_0: new Float32Array(x.length), noise: new Float32Array(x.length), v: null };
    async function ask(view, cond) {
      const answer = network(view.view(x), t, [cond]);
      await breathe();
      return answer;
    }
    for (const { cond, view: named = views.identity, part = 1 } of branches) {
      const view = views[named] ?? named, c = await ask(view, cond);
      if (guided && !unconditionalAt.has(view)) unconditionalAt.set(view, await ask(view, unconditional)); // for all prompts
      const u = unconditionalAt.get(view);
      for (const what of ["x_0", "noise"]) {
        const found = view.inverse(guided ? mix(1 - guidance, u[what], guidance, c[what]) : c[what]);
        total[what] = mix(1, total[what], part, found);
      }
      if (c.v) total.v = mix(1, total.v ?? new Float32Array(x.length), 1 / branches.length, view.inverseVariance(c.v));
    }
    return total;
  }

  // --- sampling: fun/diffusion/sampling.py ---

  function ddpmStep(schedule, t, tPrev, x_t, x_0, v, draw) { // variance "learned" if there is v, else "small"
    const mean = qPosterior(schedule, x_0, x_t, t, tPrev), [beta, betaTilde] = stride(schedule, t, tPrev);
    if (tPrev < 0) return mean;
    const noise = draw(), low = Math.log(betaTilde), high = Math.log(beta);
    const sigma = (i) => Math.exp((v ? low + ((v[i] + 1) / 2) * (high - low) : low) / 2);
    return mean.map((value, i) => value + sigma(i) * noise[i]);
  }

  function ddimStep(schedule, t, tPrev, x_t, x_0) {
    return qSample(schedule, x_0, tPrev, noiseFromXStart(schedule, x_t, t, x_0));
  }

  // DPM-Solver++(2M) of one walk: the steps of `step`, from an estimate that goes on changing as it did since the step before.
  function dpmSolver(step) {
    const logSnr = (schedule, t) => 2 * Math.log(schedule.levels(t)[0] / schedule.levels(t)[1]);
    let last = null;
    return (schedule, t, tPrev, x_t, x_0, v, draw) => {
      const at = logSnr(schedule, t);
      let estimate = x_0;
      if (last && last.tPrev === t && tPrev >= 0) {
        const ahead = (logSnr(schedule, tPrev) - at) / (at - last.at) / 2;
        estimate = mix(1 + ahead, x_0, -ahead, last.x_0);
      }
      last = { tPrev, at, x_0 };
      return step(schedule, t, tPrev, x_t, estimate, null, draw); // its variance is "small"
    };
  }

  const SAMPLERS = {
    ddpm: () => ddpmStep,
    ddim: () => ddimStep,
    dpm_solver: () => dpmSolver(ddimStep),
    sde_dpm_solver: () => dpmSolver(ddpmStep),
  };

  // Walks from noise to image; yields {t, x_t, x_0} after each step. predict: async (x_t, t) -> {x_0, noise, v}; threshold:
  // x_0 -> x_0; constraint: (x, tPrev) -> x, after each step.
  async function* denoise({ schedule, predict, x, pairs, sampler, generator, threshold = null, constraint = null }) {
    if (!SAMPLERS[sampler]) throw new Error(`unknown sampler ${sampler}; known: ${Object.keys(SAMPLERS)}`);
    const step = SAMPLERS[sampler](), draw = () => generator.normal(x.length);
    let x_t = x;
    for (const [t, tPrev] of pairs) {
      const { x_0: estimate, v } = await predict(x_t, t), x_0 = threshold ? threshold(estimate) : estimate;
      x_t = step(schedule, t, tPrev, x_t, x_0, v, draw);
      if (constraint) x_t = await constraint(x_t, tPrev);
      if (!x_t.every(Number.isFinite)) throw new Error(`the sample is not finite after timestep ${t}`);
      yield { t: tPrev, x_t, x_0 };
    }
  }

  function clip(low, high) { return (x) => x.map((value) => Math.min(Math.max(value, low), high)); }

  function dynamicThreshold(ratio, max) {
    if (max === 1) return clip(-1, 1);
    return (x_0) => {
      const sizes = x_0.map(Math.abs).sort(), at = ratio * (sizes.length - 1), below = Math.floor(at);
      const quantile = sizes[below] + (at - below) * (sizes[Math.min(below + 1, sizes.length - 1)] - sizes[below]);
      const s = Math.min(Math.max(quantile, 1), max);
      return clip(-s, s)(x_0).map((value) => value / s);
    };
  }

  // A constraint for inpainting: where `unknown` (a number for each pixel) is 0, the image is put back, with its noise.
  function putBack(schedule, image, unknown, generator) {
    return (x, t) => {
      const known = t < 0 ? image : qSample(schedule, image, t, generator.normal(x.length));
      return x.map((value, i) => (unknown[i % unknown.length] ? value : known[i]));
    };
  }

  // The noise from which DDIM draws x_0 again, about: fun/diffusion/inversion.py.
  async function ddimInversion({ schedule, predict, x_0, timesteps, generator, threshold = null }) {
    const upwards = [...timesteps].sort((a, b) => a - b), pairs = upwards.slice(1).map((t, i) => [upwards[i], t]);
    let x = qSample(schedule, x_0, upwards[0], generator.normal(x_0.length));
    for await (const { x_t } of denoise({ schedule, predict, x, pairs, sampler: "ddim", generator, threshold })) x = x_t;
    return x;
  }

  // --- judges: fun/judging/scores.py, fun/miniature/judge.py ---

  // A convolution with batch normalisation, as it is after training, and ReLU.
  function seen(tensors, conv, norm, step = 1) {
    const convolve = plainConvolution(tensors, conv, step), of = (name) => tensors[`${norm}.${name}`].data;
    const [weight, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(of);
    return (x) => {
      const h = convolve(x), area = h.length / weight.length;
      return relu(h.map((value, i) => {
        const c = Math.floor(i / area);
        return ((value - mean[c]) / Math.sqrt(variance[c] + 1e-5)) * weight[c] + bias[c];
      }));
    };
  }

  function maxPool(x, channels) { // of 2 x 2
    const width = Math.sqrt(x.length / channels), half = width / 2, out = new Float32Array(x.length / 4);
    for (let i = 0; i < out.length; i++) {
      const at = 2 * (Math.floor(i / half) * width + (i % half));
      out[i] = Math.max(x[at], x[at + 1], x[at + width], x[at + width + 1]);
    }
    return out;
  }

  function largestAt(x) { return x.reduce((best, value, i) => (value > x[best] ? i : best), 0); }

  function reading(logits) {
    const probabilities = softmax(logits);
    return { digit: largestAt(probabilities), probabilities };
  }

  // read(x), for x (1, 28, 28) in [-1, 1]
  function digitReader(tensors) {
    const see_1 = seen(tensors, "features.0", "features.1", 2), see_2 = seen(tensors, "features.3", "features.4");
    const see_3 = seen(tensors, "features.7", "features.8");
    const features = linear(tensors, "features.11"), head = linear(tensors, "head");
    return (x) => reading(head(relu(features(see_3(maxPool(see_2(see_1(x)), 32))))));
  }

  // read(x), for x (3, 16, 16) or (3, 32, 32) in about [-1, 1]; foreground and background are indices of pictures.COLOURS
  function pictureReader(tensors) {
    const see_1 = seen(tensors, "digit.0", "digit.1", 2), see_2 = seen(tensors, "digit.3", "digit.4");
    const see_3 = seen(tensors, "digit.7", "digit.8"), hidden = linear(tensors, "digit.12"), logits = linear(tensors, "digit.15");
    const width = tensors["digit.0.weight"].shape[0];
    const colours_1 = linear(tensors, "colours.0"), colours_2 = linear(tensors, "colours.2");
    return (x) => {
      const { ink, colours } = findInk(enlarge(clip(-1, 1)(x)));
      const h = maxPool(see_3(maxPool(see_2(see_1(ink)), 2 * width)), 4 * width);
      const both = colours_2(relu(colours_1(colours))), half = both.length / 2;
      const foreground = largestAt(both.subarray(0, half)), background = largestAt(both.subarray(half));
      return { ...reading(logits(relu(hidden(h)))), foreground, background };
    };
  }

  const SIZE = 32; // pixels that the judge sees

  function findInk(x) {
    const area = SIZE * SIZE, pixels = [0, 1, 2].map((c) => x.subarray(c * area, (c + 1) * area));
    const edge = (i) => i < 2 || i >= SIZE - 2;
    const atBorder = (_, i) => edge(Math.floor(i / SIZE)) || edge(i % SIZE);
    const background = pixels.map((channel) => channel.filter(atBorder).sort()).map((border) => border[(border.length - 1) >> 1]);
    const distance = pixels[0].map((_, i) => Math.hypot(...pixels.map((channel, c) => channel[i] - background[c])));
    const far = Array.from(distance.keys()).sort((a, b) => distance[b] - distance[a]);
    const mean = (n) => pixels.map((channel) => far.slice(0, n).reduce((total, i) => total + channel[i], 0) / n);
    const most = Math.max(distance[far[0]], 0.1);
    return { ink: distance.map((d) => d / most), colours: Float32Array.from([...background, ...mean(4), ...mean(16)]) };
  }

  function enlarge(x) { // bilinear, to the judge's size
    const size = Math.sqrt(x.length / 3), out = new Float32Array(3 * SIZE * SIZE);
    if (size > SIZE) throw new Error(`the judge reads pictures of up to ${SIZE} pixels, not ${size}`);
    const places = Array.from({ length: SIZE }, (_, i) => {
      const at = Math.max(((i + 0.5) * size) / SIZE - 0.5, 0), below = Math.floor(at);
      return [below, Math.min(below + 1, size - 1), at - below];
    });
    for (let i = 0; i < out.length; i++) {
      const [top, bottom, down] = places[Math.floor(i / SIZE) % SIZE], [left, right, across] = places[i % SIZE];
      const plane = Math.floor(i / SIZE ** 2) * size;
      const row = (y) => x[(plane + y) * size + left] * (1 - across) + x[(plane + y) * size + right] * across;
      out[i] = row(top) * (1 - down) + row(bottom) * down;
    }
    return out;
  }

  return {
    ...{ decode, generator, ofBetas, linear: linearSchedule, cosine, ofScheduler, qSample, perfectDenoiser, timesteps, pairs },
    ...{ smallUNet, ifUNet, tokenize, textEncoder, views, predict, denoise, clip, dynamicThreshold, putBack, ddimInversion },
    ...{ digitReader, pictureReader },
  };
})();

if (typeof module !== "undefined") module.exports = Engine;
