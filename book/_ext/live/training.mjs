// One run: weights, batches and noise of a seed as `nin.train` draws them, and what it records.

import { DENSE_STEPS, IMAGES, STEPS_PER_DECADE, eq2Rate } from "./package.mjs";
import { makeNetwork, norm } from "./network.mjs";
import { stream } from "./streams.mjs";

export const EVALUATIONS = 5; // per decade of steps: each costs as much as a dozen steps

// `nin.runs.history.log_spaced_steps`.
export function logSpacedSteps(total, dense, per_decade) {
  const to = Math.min(dense, total), steps = new Set();
  for (let t = 0; t <= to; t++) steps.add(t);
  const first = Math.max(to, 1);
  const count = Math.ceil(per_decade * Math.log10(Math.max(total, 1) / first));
  for (let k = 1; k <= count; k++)
    steps.add(Math.min(Math.round(first * 10 ** (k / per_decade)), total));
  return steps;
}

export const sizesOf = ({ width, depth }) => [IMAGES.size, ...Array(depth).fill(width), 10];
export const stepsPerEpoch = ({ batch_size }) => Math.ceil(IMAGES.train / batch_size);

// `nin.studies.memorisation.with_wrong_labels`: a share of the labels is drawn anew.
function relabelled(labels, share) {
  const draws = stream(0, "labels"), where = draws.uniforms(labels.length);
  const drawn = draws.integers(10, labels.length);
  return labels.map((label, i) => (where[i] < Math.fround(share) ? drawn[i] : label));
}

// `images`: pixels, scaled, of training and then test images, and their labels.
export function startRun(setting, { pixels, labels }) {
  const { seed, eta, sigma_eps, kind, batch_size, epochs } = setting;
  const size = IMAGES.size, n = IMAGES.train;
  const network = makeNetwork({ ...setting, sizes: sizesOf(setting) });
  const train_x = pixels.subarray(0, n * size), train_y = relabelled(labels.subarray(0, n), setting.wrong);
  const test_x = pixels.subarray(n * size), test_y = labels.subarray(n);
  const per_epoch = stepsPerEpoch(setting), total = epochs * per_epoch;
  const recorded = logSpacedSteps(total - 1, DENSE_STEPS, STEPS_PER_DECADE);
  const evaluated = logSpacedSteps(total, 1, EVALUATIONS);
  const x = new Float32Array(batch_size * size), next = network.weights[setting.layer + 1];
  const course = {
    step: [], loss: [], accuracy: [], w_ni: [], next: [], curvature: [], rate: [],
    eval_step: [], train_loss: [], train_accuracy: [], test_loss: [], test_accuracy: [],
    diverged: -1,
  };
  const run = { course, network, total, step: 0, done: false, advance };
  let order, noise;

  function evaluate() {
    const [train_loss, train_accuracy] = network.evaluate(train_x, train_y);
    const [test_loss, test_accuracy] = network.evaluate(test_x, test_y);
    note({ eval_step: run.step, train_loss, train_accuracy, test_loss, test_accuracy });
  }
  function note(values) {
    for (const [name, value] of Object.entries(values)) course[name].push(value);
  }

  // One step; the last one ends with an evaluation.
  function advance() {
    const [epoch, k] = [Math.floor(run.step / per_epoch), run.step % per_epoch];
    if (k === 0) {
      order = stream(seed, "batches", epoch).permutation(n);
      noise = stream(seed, "eps", kind === "fixed" ? 0 : epoch).normals(n, Math.fround(sigma_eps));
    }
    if (evaluated.has(run.step)) evaluate();
    const index = order.subarray(k * batch_size, (k + 1) * batch_size), count = index.length;
    index.forEach((image, i) => {
      x.set(train_x.subarray(image * size, (image + 1) * size), i * size);
    });
    const y = Int32Array.from(index, (image) => train_y[image]);
    const eps = Float32Array.from(index, (image) => noise[image]);
    const look = recorded.has(run.step), w_ni = norm(network.w_ni), after = next ? norm(next) : NaN;
    const { loss, accuracy, curvature } =
      network.step(x.subarray(0, count * size), y, eps, eta, look);
    if (!Number.isFinite(loss)) {
      course.diverged = run.step;
      run.done = true;
      return;
    }
    const [rate] = eq2Rate(eta, sigma_eps, curvature);
    if (look) note({ step: run.step, loss, accuracy, w_ni, next: after, curvature, rate });
    run.step += 1;
    if (run.step === total) {
      evaluate();
      run.done = true;
    }
  }
  return run;
}
