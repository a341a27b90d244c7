// A chart of curves over the steps of a run, or over noise strengths, on a logarithmic axis.
// SVG by hand and no library: it takes the book's fonts and colours, also in the dark, and redraws
// the few hundred records of a run in a millisecond or two.

import { line, placeOf, points, power, short, text } from "./drawing.mjs";

// An axis: its name, where a value lies as a share of its length, the value there, ticks, and words.
export const stepAxis = (total) => ({
  name: "SGD step",
  share: (t) => Math.log1p(t) / Math.log1p(total),
  back: (share) => Math.round(Math.expm1(share * Math.log1p(total))),
  ticks: [0, 1, 10, 100, 1000, 10000].filter((t) => t <= total),
  say: (t) => `at step ${t}`,
});
export const strengthAxis = (from, to) => ({
  name: "noise strength",
  share: (s) => Math.log(s / from) / Math.log(to / from),
  back: (share) => from * (to / from) ** share,
  ticks: [0.1, 1, 10, 100, 1000].filter((s) => s >= from && s <= to),
  say: (s) => `at strength ${short(s)}`,
});

const LEFT = 44, RIGHT = 8, TOP = 6, BOTTOM = 36;
let charts = 0;

const swatch = ({ color, dash = "", width = 2 }) =>
  '<svg class="curves" width="26" height="8" aria-hidden="true"><polyline points="0,4 26,4" ' +
  `style="--color: ${color}" stroke-width="${width}" stroke-dasharray="${dash}"/></svg>`;

// `series`: { name: { label, color, dash, width, ghost } }, of which those with `ghost` are drawn of
// earlier runs too. `log`: powers of ten at most shown, [from, to]; without it the axis is 0 to 1.
export function makeChart({ title, series, log, levels = [] }) {
  const element = document.createElement("div"), clip = `live-clip-${charts++}`;
  const key = Object.entries(series).map(([name, one]) =>
    `<span>${swatch(one)} ${one.label} <output data-name="${name}"></output></span>`);
  element.className = "chart";
  element.innerHTML = `<p class="title">${title}</p><svg role="img"></svg>` +
    `<p class="key">${key.join("")}</p>`;
  const svg = element.querySelector(":scope > svg"), spoken = title.replace(/<[^>]*>/g, "");
  let shown = null; // what was drawn last

  function range(all) {
    if (!log) return [0, 1];
    let low = Infinity, high = 0;
    for (const [, values] of all)
      for (const value of values) {
        if (value > 0 && value < low) low = value;
        if (value > high && value < Infinity) high = value;
      }
    if (!high) return [-1, 0];
    const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))]
      .map((k) => Math.min(Math.max(k, log[0]), log[1]));
    return from < to ? [from, to] : to > log[0] ? [to - 1, to] : [from, from + 1];
  }

  // `curves`: { name: [steps, values, counts if they are means] }; `ghosts`: earlier runs, { color, curves }.
  function draw({ axis, curves, ghosts, at }) {
    shown = { axis, curves, at };
    const width = svg.clientWidth, height = svg.clientHeight;
    if (width < LEFT + RIGHT + 10) return; // folded away
    const right = width - RIGHT, bottom = height - BOTTOM;
    const x = (t) => LEFT + (right - LEFT) * axis.share(t);
    const kept = Object.keys(series).filter((name) => series[name].ghost);
    const old = ghosts.flatMap((ghost) => kept.map((name) => [ghost.color, ...ghost.curves[name]]));
    const here = Object.keys(series).filter((name) => curves[name]);
    const [from, to] = range([...here.map((name) => curves[name]), ...old.map(([, t, values]) => [t, values])]);
    const share = (value) => (log ? (Math.log10(value) - from) / (to - from) : value);
    // What leaves the chart leaves it visibly: a little beyond its edge.
    const y = (value) => bottom - (bottom - TOP) * Math.min(Math.max(share(value), -0.1), 1.1);
    const parts = [];
    const tick = (value, name) => parts.push(line(LEFT, y(value), right, y(value), 'class="grid"'),
      name === null ? "" : text(LEFT - 5, y(value) + 4, name, 'text-anchor="end"'));
    if (!log) for (const value of [0, 0.5, 1]) tick(value, `${100 * value} %`);
    else for (let k = from, by = Math.ceil((to - from) / 4); k <= to; k++) {
      tick(10 ** k, (to - k) % by ? null : power(k));
      if (to - from < 3 && k < to) for (const f of [2, 5]) tick(f * 10 ** k, short(f * 10 ** k));
    }
    for (const t of axis.ticks) {
      parts.push(line(x(t), TOP, x(t), bottom, 'class="grid"'));
      parts.push(text(x(t), bottom + 15, t, 'text-anchor="middle"'));
    }
    parts.push(text((LEFT + right) / 2, bottom + 31, axis.name, 'text-anchor="middle"'));
    const frame = `x="${LEFT}" y="${TOP}" width="${right - LEFT}" height="${bottom - TOP}"`;
    parts.push(`<clipPath id="${clip}"><rect ${frame}/></clipPath><g clip-path="url(#${clip})" class="curves">`);
    for (const level of levels)
      parts.push(line(LEFT, y(level), right, y(level), 'class="level" stroke-dasharray="2 4"'));
    const curve = ([steps, values], color, rest) =>
      `<polyline points="${points(steps.map(x), values.map(y))}" style="--color: ${color}" ${rest}/>`;
    for (const [color, ...data] of old) parts.push(curve(data, color, 'class="ghost"'));
    for (const name of here) {
      const { color, dash = "", width: thick = 2 } = series[name];
      const rest = `stroke-width="${thick}" stroke-dasharray="${dash}"`;
      parts.push(curve(curves[name], color, rest));
    }
    parts.push("</g>");
    if (at !== null) parts.push(line(x(at), TOP, x(at), bottom, 'class="reading"'));
    svg.innerHTML = parts.join("") + `<rect ${frame} class="frame"/>`;
    read(at);
  }

  // The values at a step, or at the end, beside the names of the curves; and in words.
  function read(at) {
    const said = [];
    for (const [name, { label }] of Object.entries(series)) {
      const [steps, values, counts] = shown.curves[name] ?? [[], []];
      const place = at === null ? values.length - 1 : placeOf(steps, at);
      const of = counts && Number.isFinite(values[place]) ? ` (n = ${counts[place]})` : "";
      const value = values.length ? short(values[place]) + of : "";
      element.querySelector(`[data-name="${name}"]`).value = value;
      if (value) said.push(`${label.replace(/<[^>]*>/g, "")} ${value}`);
    }
    const when = at === null ? "at the end" : shown.axis.say(at);
    svg.setAttribute("aria-label", `${spoken}${said.length ? `; ${when}: ${said.join(", ")}` : ""}`);
  }
  // The value of the axis under a pointer, or null outside the frame.
  function under(event) {
    const { left, width } = svg.getBoundingClientRect();
    const part = (event.clientX - left - LEFT) / (width - LEFT - RIGHT);
    if (!shown || part < 0 || part > 1) return null;
    return shown.axis.back(part);
  }
  return { element, svg, draw, under };
}
