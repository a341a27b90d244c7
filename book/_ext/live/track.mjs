// A slider's track, coloured by the phases along it.

import { PHASES, PHASE_COLORS } from "./rule.mjs";

export const TRACK = (id, last) => `<div class="track"><div class="bands"></div>
  <input type="range" id="${id}" min="0" max="${last}"></div><p class="names" aria-hidden="true"></p>`;

// Where on a slider of rising `values` a value lies, as a share of its length.
export function shareOf(values, value) {
  const last = values.length - 1, above = values.findIndex((each) => each >= value);
  if (above < 0) return 1;
  if (above === 0 || values[above] === value) return above / last;
  const [a, b] = [values[above - 1] || values[above] / 2, values[above]];
  return (above - 1 + Math.max(0, Math.log(value / a) / Math.log(b / a))) / last;
}

// `borders`: shares of the length where the phases after the first begin; a first one of null is
// not known, and the colours of the two phases run into each other.
export function paintTrack(root, borders) {
  const bands = root.querySelector(".bands"), names = root.querySelector(".names");
  const blend = borders[0] === null;
  const edges = [0, ...borders.map((b) => 100 * b), 100]; // null is 0
  for (let i = edges.length - 2; i > 0; i--) edges[i] = Math.min(edges[i], edges[i + 1]);
  const bars = PHASE_COLORS.map((color, i) => `${color} ${edges[i]}% ${edges[i + 1]}%`);
  if (blend) bars.splice(0, 2, `${PHASE_COLORS[0]} 0%`, `${PHASE_COLORS[1]} ${edges[2]}%`);
  bands.style.background = `linear-gradient(to right, ${bars.join(", ")})`;
  bands.innerHTML = edges.slice(1, -1).filter((edge) => edge > 0 && edge < 100)
    .map((edge) => `<i style="left: ${edge}%"></i>`).join("");
  const called = blend ? ["", `${PHASES[0]}, then ${PHASES[1]}`, ...PHASES.slice(2)] : PHASES;
  names.innerHTML = called.map((phase, i) => {
    const width = edges[i + 1] - edges[i];
    return width > 0 ? `<span style="flex-basis: ${width}%">${phase}</span>` : "";
  }).join("");
}
