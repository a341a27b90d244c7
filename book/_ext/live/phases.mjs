// The rule of `nin.runs.phases`, with its numbers.

import { NIW, short } from "./drawing.mjs";
import { DECAYED, LAST, MARGIN, PHASES } from "./rule.mjs";

export const DIVERGENT = PHASES.indexOf("divergent");

export function phaseIndex(peak, w_end, loss_peak, loss_end, diverged) {
  const grew = peak > MARGIN && loss_peak > MARGIN;
  if (diverged || (grew && w_end > MARGIN && loss_end > MARGIN)) return 3;
  return grew ? 2 : w_end < DECAYED ? 1 : 0;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), half = (sorted.length - 1) / 2;
  return (sorted[Math.floor(half)] + sorted[Math.ceil(half)]) / 2;
}

// The phase of a course: `w_ni` and `loss` record by record, and `diverged`, a step or -1. In the
// linear model either weight of the noise path may drive a catapult: there `w1` counts as well.
export function classify({ w_ni, w1, loss, diverged }) {
  const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const found = {
    w_peak: largest(w_ni) / Math.abs(w_ni[0]),
    w_end: Math.abs(w_ni.at(-1) / w_ni[0]),
    loss_peak: largest(loss) / loss[0],
    loss_end: median(loss.slice(-LAST)) / loss[0],
  };
  const peak = w1 ? Math.max(found.w_peak, largest(w1) / Math.abs(w1[0])) : found.w_peak;
  const index = phaseIndex(peak, found.w_end, found.loss_peak, found.loss_end, diverged >= 0);
  return { index, phase: PHASES[index], ...found };
}

// What speaks for it, in a sentence; `gone` says of a run that diverged how it ended.
export function evidence(found, diverged, gone) {
  if (!Number.isFinite(found.w_peak)) return gone;
  const numbers = `|${NIW}| peaked at ${short(found.w_peak)} and ended at ${short(found.w_end)} ` +
    `times its start, the noisy loss at ${short(found.loss_peak)} and ${short(found.loss_end)} times`;
  return diverged < 0 ? numbers : `${gone}; before, ${numbers}`;
}
