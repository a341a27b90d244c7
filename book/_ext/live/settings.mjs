// What can be chosen, how a choice is written into a link, and the commands that do the same.

import { IMAGES } from "./package.mjs";

// Values in equal ratios, `n` to a decade, of so many digits.
export function decades(from, to, n, digits = 3) {
  const count = Math.round(n * Math.log10(to / from)) + 1;
  return Array.from({ length: count }, (_, k) => Number((from * 10 ** (k / n)).toPrecision(digits)));
}
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, k) => from + k);

export const STRENGTHS = [0, ...decades(0.3, 1000, 12, 2)];
export const KINDS = { fresh: "new each epoch", fixed: "fixed" };
export const LOSSES = { ce: "cross-entropy", mse: "squared error" };

// Label and values of each choice; the first three stand beside the noise strength.
export const CHOICES = {
  kind: ["noise", Object.keys(KINDS), (kind) => KINDS[kind]],
  loss: ["loss", Object.keys(LOSSES), (loss) => LOSSES[loss]],
  wrong: ["wrong labels", [0, 0.1, 0.2, 0.5, 1], (share) => `${100 * share} %`],
  layer: ["noise enters layer", [0, 1, 2, 3], (layer) => layer + 1],
  depth: ["hidden layers", [1, 2, 3], String],
  width: ["neurons in each", [16, 32, 64, 128, 256], String],
  eta: ["learning rate η", [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5], String],
  batch_size: ["batch size", [10, 20, 50, 100, 200, 500, 1000], String],
  epochs: ["epochs", [1, 2, 5, 10, 20, 40], String],
  seed: ["seed", numbers(0, 19), String],
};
export const DEFAULT = {
  sigma_eps: 0, kind: "fresh", loss: "ce", wrong: 0, layer: 0, depth: 1, width: 64, eta: 0.05,
  batch_size: 100, epochs: 20, seed: 0,
};
export const PICTURES = [0, 1, 4, 7, 8, 18]; // test images to look at

// A setting that can be run: of what is asked for, all that is on offer.
export function valid(asked) {
  const setting = { ...DEFAULT };
  const strength = Number(asked.sigma_eps);
  if (strength >= 0 && strength <= STRENGTHS.at(-1)) setting.sigma_eps = strength;
  for (const [name, [, values]] of Object.entries(CHOICES)) {
    const value = typeof DEFAULT[name] === "number" ? Number(asked[name]) : asked[name];
    if (name in asked && values.includes(value)) setting[name] = value;
  }
  setting.layer = Math.min(setting.layer, setting.depth); // the last one is that of the outputs
  return setting;
}

const MARK = "#run:";
export const fragment = (setting) => MARK + new URLSearchParams(setting);
export function settingOf(hash) {
  return hash.startsWith(MARK)
    ? valid(Object.fromEntries(new URLSearchParams(hash.slice(MARK.length))))
    : null;
}

// What differs from the default, in words.
export function described(setting) {
  const words = Object.entries(CHOICES)
    .filter(([name]) => setting[name] !== DEFAULT[name])
    .map(([name, [label, , said]]) => `${label} ${said(setting[name])}`);
  return [`σ = ${setting.sigma_eps}`, ...words].join(", ");
}

// Table 1's unit of the noise variance: what is the same for images and networks of any size.
const PAPER = { inputs: 784, eta: 0.01, width: 1024 };
const unit = (loss, inputs, eta, width) => inputs / eta / (loss === "mse" ? width : 1);

// The commands that train it at the scale of the paper's Fig. 3: 42,000 images, 1024 neurons.
export function commands(setting) {
  const { sigma_eps, loss, eta, width, depth, layer, kind, wrong, seed } = setting;
  const K = Number((sigma_eps ** 2 / unit(loss, IMAGES.size, eta, width)).toPrecision(4));
  const paper = unit(loss, PAPER.inputs, PAPER.eta, PAPER.width);
  const strength = Number(Math.sqrt(K * paper).toPrecision(4));
  if (wrong)
    return [".venv/bin/papermill book/figures/memorisation.ipynb mine.ipynb " +
      `-p K ${K} -y 'label_noise: [${wrong}]' -y 'seeds: [${seed}]'`];
  const name = `layers.${layer}`, fixed = kind === "fixed";
  return [
    ".venv/bin/papermill book/figures/one_run.ipynb mine.ipynb -p experiment fig3 " +
      `-p sigma_eps ${strength} -p loss ${loss} -p depth ${depth} -p layer ${name} ` +
      `-p fixed ${fixed} -y 'seeds: [${seed}]'`,
    `.venv/bin/python -m nin run --experiment fig3 --K ${K} --loss ${loss} --depth ${depth} ` +
      `--layer ${name} ${fixed ? "--fixed" : "--no-fixed"} --seed ${seed} --epochs 5`,
  ];
}
