// The network that sees the noise and no image: `nin.studies.borders.noise_only`, for the slider.

import { QUANTILES, eq2Rate } from "./package.mjs";
import { dot, makeNetwork, networkOf, norm } from "./network.mjs";
import { classify, DIVERGENT } from "./phases.mjs";
import { DECAYED, PHASES } from "./rule.mjs";
import { sizesOf, stepsPerEpoch } from "./training.mjs";

const OUTPUTS = 10;
const POWER_STEPS = 20; // of the power iteration for the largest eigenvalue
const LONGEST = 1000; // steps of the integration
const SETTLED = 0.1; // where |w_ni| is a tenth of its start, nothing makes it grow any more

// The phase at one strength: inputs 0, each value of eps with every label, gradient descent on all.
export function noiseOnlyPhase(setting, sigma_eps, steps) {
  const seeing = makeNetwork({ ...setting, sizes: sizesOf(setting) });
  const blind = networkOf({
    ...seeing,
    sizes: [1, ...seeing.sizes.slice(1)],
    weights: [new Float32Array(seeing.sizes[1]), ...seeing.weights.slice(1)],
  });
  const n = QUANTILES.length * OUTPUTS, x = new Float32Array(n);
  const y = Int32Array.from({ length: n }, (_, i) => i % OUTPUTS);
  const eps = Float32Array.from(y, (_, i) => sigma_eps * QUANTILES[Math.floor(i / OUTPUTS)]);
  const w_ni = [], loss = [];
  for (let t = 0; t < steps; t++) {
    w_ni.push(norm(blind.w_ni));
    loss.push(blind.step(x, y, eps, setting.eta).loss);
    if (!Number.isFinite(loss.at(-1))) return DIVERGENT;
    if (w_ni.at(-1) < SETTLED * w_ni[0]) break;
  }
  return classify({ w_ni, loss, diverged: -1 }).index;
}

// Where catapult and divergence begin among rising strengths, by bisection: their places, or the
// number of strengths where they never do. Yields null between its runs, to let others have a turn.
export function* noiseOnlyBorders(setting, strengths) {
  const steps = setting.epochs * stepsPerEpoch(setting), known = new Map();
  for (const phase of [PHASES.indexOf("catapult"), DIVERGENT]) {
    let low = -1, high = strengths.length; // the border lies behind `low`, at `high` or before
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (!known.has(middle)) {
        known.set(middle, noiseOnlyPhase(setting, strengths[middle], steps));
        yield null;
      }
      if (known.get(middle) >= phase) high = middle;
      else low = middle;
    }
    yield high;
  }
}

// Where half of |w_ni| decays within the run by Eq. (2), with the local Hessian as it is at step 0:
// the noise strength at which exp(-rate <H>) w_ni, over all steps, has half the norm of w_ni.
export function decayBorder(setting, x, n) {
  const network = makeNetwork({ ...setting, sizes: sizesOf(setting) });
  network.forward(x, n, null);
  const product = (v) => network.localProduct(v, n, null);
  let v = Float64Array.from(network.w_ni), top = 0;
  for (let k = 0; k < POWER_STEPS; k++) {
    v = product(v);
    top = norm(v);
    v = v.map((value) => value / top);
  }
  const dt = 0.2 / top, start = norm(network.w_ni);
  let t = 0;
  v = Float64Array.from(network.w_ni);
  for (; norm(v) > DECAYED * start; t += dt) {
    if (t > LONGEST * dt) return Infinity;
    const pull = product(v);
    v = v.map((value, j) => value - dt * pull[j]);
  }
  const [per_step] = eq2Rate(setting.eta, 1, 1);
  return Math.sqrt(t / (per_step * setting.epochs * stepsPerEpoch(setting)));
}
