// The phase explorer: the linear model, its run and its plane. `model`, which holds the formulas and
// tables, is written by nin.companion.explorer.

import { NIW, line, power, short, text } from "./drawing.mjs";
import { model } from "./model.mjs";
import { classify, evidence, phaseIndex } from "./phases.mjs";
import { PHASES, PHASE_COLORS } from "./rule.mjs";
import { TRACK, paintTrack, shareOf } from "./track.mjs";

const NAMES = ["w1", "u", "w0", "loss"];

// ---- Random numbers: those of nin.linear.batch_draws, bit for bit. A word is two halves of 32 bits. --------

const halves = (hex) => [parseInt(hex.slice(0, 8), 16), parseInt(hex.slice(8), 16)];
const [GOLDEN, MIX_1, MIX_2] = model.words.map(halves);

// The upper half of the product of two 32-bit numbers.
function upperHalf(a, b) {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const carried = a0 * b1 + (middle & 0xffff);
  return a1 * b1 + (middle >>> 16) + (carried >>> 16);
}

function randomNumbers(start) {
  let [high, low] = halves(start); // the state
  let top = 0, bottom = 0; // the last 64 random bits

  function fold(shift) {
    bottom ^= (bottom >>> shift) | (top << (32 - shift));
    top ^= top >>> shift;
  }
  function multiply([by_high, by_low]) {
    top = upperHalf(bottom >>> 0, by_low) + Math.imul(top, by_low) + Math.imul(bottom, by_high);
    bottom = Math.imul(bottom, by_low);
    top |= 0;
  }
  function nextBits() {
    low = (low + GOLDEN[1]) >>> 0;
    high = (high + GOLDEN[0] + (low < GOLDEN[1])) >>> 0;
    [top, bottom] = [high | 0, low | 0];
    fold(30);
    multiply(MIX_1);
    fold(27);
    multiply(MIX_2);
    fold(31);
  }
  function uniform() {
    nextBits();
    return ((top >>> 0) * 2 ** 21 + (bottom >>> 11) + 0.5) * 2 ** -53;
  }
  function normal() { // the ziggurat of Marsaglia and Tsang
    for (;;) {
      nextBits();
      const layer = bottom & 0xff, distance = top * 2 ** 21 + (bottom >>> 11);
      const x = distance * model.width[layer];
      if (Math.abs(distance) < model.inner[layer]) return x;
      if (layer === 0) {
        for (;;) {
          const beyond = -Math.log(uniform()) / model.tail;
          if (-2 * Math.log(uniform()) > beyond * beyond)
            return Math.sign(x) * (model.tail + beyond);
        }
      }
      const below = model.height[layer], above = model.height[layer - 1];
      if (below + (above - below) * uniform() < Math.exp(-0.5 * x * x)) return x;
    }
  }
  function chiSquared(degrees) { // Marsaglia and Tsang's gamma
    if (degrees === 0) return 0;
    if (degrees === 1) return normal() ** 2;
    const d = 0.5 * degrees - 1 / 3, c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = normal();
      let v = 1 + c * x;
      if (v <= 0) continue;
      v = v * v * v;
      const a = uniform();
      if (a < 1 - 0.0331 * (x * x) * (x * x)) return 2 * d * v;
      if (Math.log(a) < 0.5 * x * x + d * (1 - v + Math.log(v))) return 2 * d * v;
    }
  }
  // <x^2>, <x eps> and <eps^2> of a batch, by Bartlett's decomposition of a Wishart matrix.
  function batch(sigma_x, sigma_eps, size) {
    if (size === Infinity) return [sigma_x * sigma_x, 0, sigma_eps * sigma_eps];
    const xx = chiSquared(size), across = normal(), rest = chiSquared(size - 1), per = 1 / size;
    const xe = Math.sqrt(xx) * across, ee = across * across + rest;
    return [
      sigma_x * sigma_x * xx * per,
      sigma_x * sigma_eps * xe * per,
      sigma_eps * sigma_eps * ee * per,
    ];
  }
  return { uniform, normal, chiSquared, batch };
}

// ---- One run ------------------------------------------------------------------------------------

// The course of |w1|, |u|, |w0| and the noisy loss. `diverged` is the step that left the numbers a
// computer can hold, or -1; the course ends before it. Keys of a setting as in nin.linear.simulate.
function run(setting) {
  const { sigma_eps, eta, batch_size, M, sigma_x, steps } = setting;
  const random = randomNumbers(model.streams[setting.seed]);
  const course = { diverged: -1 };
  for (const name of NAMES) course[name] = new Float64Array(steps + 1);
  let { w1, u, w0 } = setting;
  for (let t = 0; ; t++) {
    course.w1[t] = w1;
    course.u[t] = u;
    course.w0[t] = w0;
    course.loss[t] = model.loss(w1, u, w0, sigma_eps, eta, batch_size, M, sigma_x)[0];
    if (t === steps) return course;
    [w1, u, w0] = model.step(w1, u, w0, M, eta, ...random.batch(sigma_x, sigma_eps, batch_size));
    if (!(Math.abs(w1) + Math.abs(u) + Math.abs(w0) < model.largest)) {
      course.diverged = t + 1;
      for (const name of NAMES) course[name] = course[name].subarray(0, t + 1);
      return course;
    }
  }
}

// The phase by the rule of the package, from a course that keeps all steps.
const classifyRun = ({ u, w1, loss, diverged }) => classify({ w_ni: u, w1, loss, diverged });

// ---- The page -----------------------------------------------------------------------------------

const W1 = "w<sup>(1)</sup>", W0 = "w<sup>(0)</sup>";
const START = " at step 0";

// Values in equal ratios, `n` to a decade, rounded to so many digits.
function decades(from, to, n, digits = 3) {
  const count = Math.round(n * Math.log10(to / from)) + 1;
  return Array.from({ length: count }, (_, k) => Number((from * 10 ** (k / n)).toPrecision(digits)));
}
function evenly(from, to, by) {
  const count = Math.round((to - from) / by) + 1;
  return Array.from({ length: count }, (_, k) => Number((from + k * by).toFixed(6)));
}
const whole = (from, to) => [...new Set(decades(from, to, 10, 2).map(Math.round))];

const SLIDERS = {
  sigma_eps: ["noise strength σ<sub>ε</sub>", [0, ...decades(0.01, 100, 40)]],
  eta: ["learning rate η", decades(0.001, 0.1, 20)],
  batch_size: ["batch size |B|", [...whole(1, 1e4), Infinity]],
  w1: [W1 + START, evenly(0.05, 3, 0.05)],
  u: [NIW + START, evenly(0.05, 3, 0.05)],
  w0: [W0 + START, evenly(-2, 2, 0.05)],
  steps: ["SGD steps", whole(100, 1e4)],
  seed: ["seed", evenly(0, model.streams.length - 1, 1)],
};
const FIXED = { M: 1, sigma_x: 1 };
const BASIC = { eta: 0.01, batch_size: 1000, w1: 1, u: 0.1, w0: 0.1, steps: 4000, seed: 0 };
const PRESETS = [
  ["decoupled", { ...BASIC, sigma_eps: 0.02 }],
  ["decay", { ...BASIC, sigma_eps: 3 }],
  ["catapult", { ...BASIC, sigma_eps: 17 }],
  ["divergent", { ...BASIC, sigma_eps: 40 }],
  ["late catapult", { ...BASIC, sigma_eps: 25, w1: 0.3 }],
  ["no noise", { ...BASIC, sigma_eps: 0 }],
  ["no fluctuations", { ...BASIC, sigma_eps: 17, batch_size: Infinity }],
];
const CURVES = [
  { name: "w1", label: `|${W1}|`, dash: "" },
  { name: "u", label: `|${NIW}|`, dash: "", width: 3 },
  { name: "w0", label: `|${W0}|`, dash: "7 4" },
  { name: "loss", label: "noisy loss", dash: "2 3" },
];
const color = (name) => model.colors[name] ?? "var(--pst-color-text-base)";

const said = (value) => (value === Infinity ? "∞ (no fluctuations)" : short(value));

function command(setting) {
  const { batch_size, ...rest } = setting;
  const given = batch_size === Infinity
    ? { ...rest, batch_size: 1, noise: "'none'" }
    : { ...rest, batch_size };
  const words = Object.entries(given).map(([name, value]) => `${name}=${value}`).join(", ");
  return ".venv/bin/python -c \"from nin.linear import simulate; from nin import " +
    `classify_phase; run = simulate(${words}, record=range(${setting.steps})); ` +
    "found = classify_phase(run.history()); print(found.phase, '-', found.evidence)\"";
}

// Steps to draw: all at first, then so many that a pixel has a few.
function drawnSteps(length) {
  const steps = [];
  for (let t = 0; t < length; t += Math.max(1, Math.floor(t / 200))) steps.push(t);
  if (steps.at(-1) !== length - 1) steps.push(length - 1);
  return steps;
}

const LOWEST = -7, HIGHEST = 4; // powers of ten on the vertical axis

function drawCourse(svg, course, steps, ghost, now) {
  const width = svg.clientWidth, height = svg.clientHeight;
  if (width < 80) return; // not in sight
  const [left, right, top, bottom] = [46, width - 10, 8, height - 40];
  const x = (t) => left + ((right - left) * Math.log1p(t)) / Math.log1p(steps);
  const y = (value) => {
    const k = Math.min(Math.max(Math.log10(value), LOWEST - 1), HIGHEST + 1);
    return top + ((bottom - top) * (HIGHEST - k)) / (HIGHEST - LOWEST);
  };
  const parts = [];
  for (let k = LOWEST; k <= HIGHEST; k++) {
    parts.push(line(left, y(10 ** k), right, y(10 ** k), 'class="grid"'));
    if (k % 2 === 0) parts.push(text(left - 6, y(10 ** k) + 4, power(k), 'text-anchor="end"'));
  }
  for (const t of [0, 1, 10, 100, 1000, 10000].filter((t) => t <= steps)) {
    parts.push(line(x(t), top, x(t), bottom, 'class="grid"'));
    parts.push(text(x(t), bottom + 17, t, 'text-anchor="middle"'));
  }
  parts.push(text((left + right) / 2, height - 5, "SGD step", 'text-anchor="middle"'));
  const drawn = drawnSteps(course.u.length);
  const frame = `x="${left}" y="${top}" width="${right - left}" height="${bottom - top}"`;
  parts.push(`<clipPath id="explorer-course"><rect ${frame}/></clipPath>`);
  parts.push('<g clip-path="url(#explorer-course)" class="curves">');
  const curve = (values, at) => at
    .map((t) => `${x(t).toFixed(1)},${y(Math.abs(values[t])).toFixed(1)}`).join(" ");
  if (ghost) for (const name of ["u", "loss"])
    parts.push(`<polyline class="ghost" points="${curve(ghost[name], drawnSteps(ghost.u.length))}"/>`);
  for (const { name, dash, width: thick = 2 } of CURVES) {
    parts.push(`<polyline points="${curve(course[name], drawn)}" style="--color: ${color(name)}" ` +
      `stroke-width="${thick}" stroke-dasharray="${dash}"/>`);
  }
  if (now) parts.push(line(x(now), top, x(now), bottom, 'class="reading"'));
  if (course.diverged >= 0) parts.push(line(x(course.diverged), top, x(course.diverged), bottom,
    `class="gone" stroke="${PHASE_COLORS[3]}"`));
  svg.innerHTML = parts.join("") + `</g><rect ${frame} class="frame"/>`;
}

const EXTENT = 6; // of both axes, as in the figure of the plane

function drawPlane(svg, setting, course, ghost, now) {
  const size = Math.min(svg.clientWidth, svg.clientHeight);
  if (size < 80) return; // not in sight
  const [left, right, top, bottom] = [46, size - 10, 8, size - 48];
  const x = (a_sq) => left + ((right - left) * a_sq) / EXTENT;
  const y = (b_sq) => bottom - ((bottom - top) * b_sq) / EXTENT;
  const area = (points, k) => `<polygon class="area" fill="${PHASE_COLORS[k]}" points="` +
    points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") + '"/>';
  const { growth: g, divergence: d } = model;
  const parts = [
    area([[0, 0], [EXTENT, 0], [EXTENT, EXTENT], [0, EXTENT]], 3),
    area([[0, 0], [d, 0], [0, d]], 2),
    area([[0, 0], [g, 0], [g, g], [0, g]], 1),
    line(x(d), y(0), x(0), y(d), 'class="border"'),
    `<polyline class="border" stroke-dasharray="4 4" points="${x(0)},${y(g)} ${x(g)},${y(g)} ` +
      `${x(g)},${y(0)}"/>`,
  ];
  for (let k = 0; k <= EXTENT; k += 2) {
    parts.push(text(left - 6, y(k) + 4, k, 'text-anchor="end"'));
    parts.push(text(x(k), bottom + 17, k, 'text-anchor="middle"'));
  }
  const unit = (name) => `η σ<tspan dy="3" font-size="75%">ε</tspan><tspan dy="-3">²</tspan> ${name}`;
  const middle = (top + bottom) / 2;
  parts.push(text((left + right) / 2, bottom + 38,
    unit('w<tspan dy="3" font-size="75%">NI</tspan><tspan dy="-3">²</tspan>'),
    'text-anchor="middle"'));
  parts.push(text(14, middle, unit("(w⁽¹⁾)²"),
    `text-anchor="middle" transform="rotate(-90 14 ${middle})"`));
  const name = (a, b, k) => text(x(a), y(b), PHASES[k], 'class="name" text-anchor="middle"');
  parts.push(name(g / 2, g / 2, 1), name(0.67 * d, 0.1 * d, 2), name(0.7 * EXTENT, 0.7 * EXTENT, 3));
  const place = ({ sigma_eps, eta, batch_size, M, sigma_x }, { w1, u, w0 }, t) =>
    model.plane(w1[t], u[t], w0[t], sigma_eps, eta, batch_size, M, sigma_x);
  const path = (setting, course) => drawnSteps(course.u.length)
    .map((t) => place(setting, course, t).map((value) => Math.min(value, 4 * EXTENT)))
    .map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
  const frame = `x="${left}" y="${top}" width="${right - left}" height="${bottom - top}"`;
  parts.push(`<clipPath id="explorer-plane"><rect ${frame}/></clipPath>`);
  const way = (kind, points) =>
    parts.push(`<polyline class="${kind}" clip-path="url(#explorer-plane)" points="${points}"/>`);
  if (ghost) way("path ghost", path(ghost.setting, ghost));
  way("path", path(setting, course));
  const [a, b] = place(setting, course, now).map((value) => Math.min(value, EXTENT));
  parts.push(`<rect ${frame} class="frame"/><circle class="point" cx="${x(a)}" cy="${y(b)}" r="6"/>`);
  svg.innerHTML = parts.join("");
}

function mount(root) {
  const label = (name) => `<label for="explorer-${name}"><span>${SLIDERS[name][0]}</span>` +
    `<output for="explorer-${name}"></output></label>`;
  const slider = (name) => `<div>${label(name)}<input type="range" id="explorer-${name}" min="0" ` +
    `max="${SLIDERS[name][1].length - 1}"></div>`;
  const [noise, ...others] = Object.keys(SLIDERS);
  const key = CURVES.map(({ name, label, dash, width = 2 }) => '<span><svg class="curves" ' +
    `width="28" height="8" aria-hidden="true"><polyline points="0,4 28,4" style="--color: ` +
    `${color(name)}" stroke-width="${width}" stroke-dasharray="${dash}"/></svg> ${label} ` +
    `<output data-name="${name}"></output></span>`);
  root.innerHTML =
    '<div class="presets" role="group" aria-label="Examples">' +
    PRESETS.map(([name], k) => `<button type="button" value="${k}">${name}</button>`).join("") +
    `</div><div class="noise">${label(noise)}` +
    `${TRACK(`explorer-${noise}`, SLIDERS[noise][1].length - 1)}</div>` +
    '<p class="phase" role="status" aria-live="polite"></p>' +
    `<div class="plots"><div><svg class="course" role="img" aria-label="Course of the three weights ` +
    `and the noisy loss over the steps; thin: the last run"></svg><p class="key">${key.join("")}</p>` +
    '<div class="time"><label for="explorer-time">time</label><input type="range" ' +
    'id="explorer-time" min="0" max="400" value="0"><output for="explorer-time"></output></div></div>' +
    '<div><svg class="plane" role="img" aria-label="The plane of the two weights of the noise ' +
    'path, with this run, its place at the chosen time, and the last run"></svg><p class="key">dot: ' +
    'where it is at that time; line: its way; thin: the last run; solid: divergence; dashed: first ' +
    'growth</p></div></div><div class="sliders" role="group" aria-label="Settings">' +
    others.map(slider).join("") + '</div><p class="borders"></p>' +
    "<p>The same run in a terminal, from the folder of the project:</p><pre><code></code></pre>";
  const find = (selector) => root.querySelector(selector);
  const input = (name) => find(`#explorer-${name}`);

  function setting() {
    const values = Object.entries(SLIDERS).map(([name, [, all]]) => [name, all[input(name).value]]);
    return { ...Object.fromEntries(values), ...FIXED };
  }
  const nearest = (name, value) => { // its place on the slider
    const away = SLIDERS[name][1].map((v) => (v === value ? 0 : Math.abs(v - value)));
    return away.indexOf(Math.min(...away));
  };
  function set(wanted) {
    for (const [name, value] of Object.entries(wanted)) input(name).value = nearest(name, value);
  }
  let shown = null, settled = null, ghost = null; // the run in sight, at rest, and before that

  function update() {
    const now = setting(), course = run(now), found = classifyRun(course);
    shown = Object.assign(course, { setting: now });
    for (const name of Object.keys(SLIDERS)) {
      find(`output[for="explorer-${name}"]`).value = said(now[name]);
      input(name).setAttribute("aria-valuetext", said(now[name]));
    }
    const gone = `the weights left all bounds at step ${course.diverged}`;
    find(".phase").innerHTML = `<span class="swatch" style="background: ` +
      `${PHASE_COLORS[found.index]}"></span> <strong>${found.phase}</strong>: ` +
      `${evidence(found, course.diverged, gone)}.`;
    const values = [now.w1, now.u, now.w0, now.sigma_eps, now.eta, now.batch_size, now.M];
    const borders = model.borders(...values, now.sigma_x), [dec, cat, div] = borders.map(short);
    paintTrack(find(".noise"), borders.map((border) => shareOf(SLIDERS.sigma_eps[1], border)));
    find(".borders").innerHTML = `The colours of the slider: from this start a kick outweighs the ` +
      `pull in one step below σ<sub>ε</sub> = ${dec}, a weight grows at once above ${cat}, and the ` +
      `noise alone diverges above ${div}. Learning may carry a run across.`;
    find("code").textContent = command(now);
    root.querySelectorAll(".presets button").forEach((button, k) => {
      const same = Object.entries(PRESETS[k][1])
        .every(([name, value]) => Number(input(name).value) === nearest(name, value));
      button.setAttribute("aria-pressed", same);
    });
    draw();
  }
  // The chosen time is a share of the run on its logarithmic axis.
  function draw() {
    const { setting } = shown, last = shown.u.length - 1, time = find("#explorer-time");
    const asked = Math.expm1((time.value / time.max) * Math.log1p(setting.steps));
    const t = Math.min(Math.round(asked), last);
    const old = ghost === shown ? null : ghost;
    find('output[for="explorer-time"]').value = t ? `step ${t}` : "start";
    time.setAttribute("aria-valuetext", t ? `step ${t}` : "start");
    for (const { name } of CURVES)
      find(`[data-name="${name}"]`).value = short(Math.abs(shown[name][t]));
    drawCourse(find(".course"), shown, setting.steps, old, t);
    drawPlane(find(".plane"), setting, shown, old, t);
  }
  function settle() { // a slider is let go, an example is chosen: the run before becomes the ghost
    [ghost, settled] = [settled, shown];
    draw();
  }
  root.addEventListener("input", ({ target }) => {
    if (target.id === "explorer-time") return draw();
    ghost = settled;
    update();
  });
  root.addEventListener("change", ({ target }) => {
    if (target.id !== "explorer-time") settle();
  });
  root.addEventListener("click", ({ target }) => {
    if (target.matches(".presets button")) {
      set(PRESETS[target.value][1]);
      update();
      settle();
    }
  });
  let width = 0; // redraw when it changes: on turning a phone, or folding the side bar
  new ResizeObserver(() => {
    if (root.clientWidth !== width) draw();
    width = root.clientWidth;
  }).observe(root);
  set(PRESETS[2][1]);
  update();
  settle();
  width = root.clientWidth;
}

globalThis.phaseExplorer = { randomNumbers, run, phaseIndex, classify: classifyRun, command };
if (typeof document !== "undefined") mount(document.getElementById("phase-explorer"));
