// The run browser: one noise strength moves the runs of Figs. 1, 2 and 3 together.

import { makeChart, stepAxis, strengthAxis } from "./chart.mjs";
import { NIW, SIGMA, short } from "./drawing.mjs";
import { COLORS, PHASES, PHASE_COLORS } from "./rule.mjs";

const SERIES = {
  w_ni: { label: `|${NIW}| over its start`, color: COLORS.w_ni, width: 3, ghost: true },
  loss: { label: "batch loss, with noise", color: COLORS.train, dash: "2 2", ghost: true },
  train_loss: { label: "training loss, no noise", color: COLORS.train, ghost: true },
};
const TIMES = {
  w_ni_fresh: { label: `|${NIW}|, new noise`, color: COLORS.w_ni, width: 3, ghost: true },
  w_ni_fixed: { label: `|${NIW}|, fixed`, color: COLORS.w_ni, dash: "6 3", ghost: true },
  train_loss_fresh: { label: "training loss, new noise", color: COLORS.train, ghost: true },
  train_loss_fixed: { label: "training loss, fixed", color: COLORS.train, dash: "6 3", ghost: true },
};

// The geometric mean at each place that all have; a run that ended ends the mean.
export function meanOf(lists) {
  const length = Math.min(...lists.map((list) => list.length));
  return Array.from({ length }, (_, i) => {
    const logs = lists.map((list) => (list[i] > 0 ? Math.log(list[i]) : NaN));
    return Math.exp(logs.reduce((sum, log) => sum + log, 0) / lists.length);
  });
}
export function nearest(values, value) {
  const away = values.map((each) => Math.abs(Math.log(each / value)));
  return away.indexOf(Math.min(...away));
}

const choice = (name, legend, options) => `<fieldset><legend>${legend}</legend>` +
  options.map(([value, label], i) => `<label><input type="radio" name="browser-${name}" ` +
    `value="${value}" ${i ? "" : "checked"}> ${label}</label>`).join("") + "</fieldset>";

function mountBrowser(root, { families, seeds, definitions }) {
  const strengths = [...new Set(Object.values(families).flatMap(({ K }) => K))].sort((a, b) => a - b);
  root.innerHTML = `<div class="strength"><label for="browser-K">noise variance K <output></output>` +
    `</label><p class="now"></p></div><input type="range" id="browser-K" min="0" ` +
    `max="${strengths.length - 1}" value="${strengths.indexOf(0.1)}"><div class="controls">` +
    choice("kind", "noise of Fig. 1", [["fresh", "new each epoch"], ["fixed", "fixed"]]) +
    choice("seeds", "seeds", [["mean", "mean"], ["each", "each, too"]]) +
    choice("loss", "losses", [["both", "both"], ["loss", "with noise"], ["train_loss", "without"]]) +
    `<label>decay time by <select name="definition">${definitions.map((name, i) =>
      `<option value="${i}">${name}</option>`).join("")}</select></label></div>` +
    '<div class="charts"></div><p class="say" role="status" aria-live="polite"></p>';
  const find = (selector) => root.querySelector(selector);
  const chosen = (name) => find(`[name="browser-${name}"]:checked`).value;
  const slider = find("#browser-K"), charts = {};
  const add = (name, options) => {
    charts[name] = makeChart(options);
    find(".charts").append(charts[name].element);
  };
  add("times", { title: `Fig. 1 (right): decay times in steps over ${SIGMA}`, series: TIMES, log: [0, 5] });
  for (const [name, { title }] of Object.entries(families))
    add(name, { title, series: SERIES, log: [-4, 3], levels: [1] });
  const at = {}; // the step or strength that is read in each chart

  function runsOf(name, K) { // those of all seeds at the strength on record that is nearest
    const { K: grid, kinds, runs, sigma_eps } = families[name], k = nearest(grid, K);
    const kind = Math.max(kinds.indexOf(chosen("kind")), 0);
    const first = (kind * grid.length + k) * seeds.length;
    return { runs: runs.slice(first, first + seeds.length), K: grid[k], sigma_eps: sigma_eps[k] };
  }
  function drawRuns(name, K) {
    const found = runsOf(name, K), which = chosen("loss");
    const names = Object.keys(SERIES).filter((n) => n === "w_ni" || which === "both" || n === which);
    const curvesOf = (pick) => Object.fromEntries(names.map((n) => {
      const steps = found.runs.map((run) => (n === "train_loss" ? run.eval_step : run.step));
      const values = pick(found.runs.map((run) => run[n]));
      const shared = steps.reduce((a, b) => (a.length < b.length ? a : b)).slice(0, values.length);
      return [n, [shared, values, values.map(() => found.runs.length)]];
    }));
    const empty = Object.fromEntries(Object.keys(SERIES).map((n) => [n, [[], []]]));
    const ghosts = chosen("seeds") === "each" ? found.runs.map((_, i) => ({
      color: "var(--pst-color-text-muted)", curves: { ...empty, ...curvesOf((lists) => lists[i]) },
    })) : [];
    const total = Math.max(...found.runs.map(({ step }) => step.at(-1)), 10);
    charts[name].draw({ axis: stepAxis(total), curves: curvesOf(meanOf), ghosts, at: at[name] ?? null });
    const phases = found.runs.map(({ phase }) => phase), most = Math.max(...phases);
    const same = phases.filter((phase) => phase === most).length;
    return { ...found, phase: most, said: `${PHASES[most]} (${same} of ${phases.length} seeds)` };
  }
  function drawTimes(sigma) {
    const { K, sigma_eps, kinds, times } = families.fig1, by = find("select").value, curves = {};
    const old = seeds.map(() => ({}));
    for (const quantity of ["w_ni", "train_loss"]) kinds.forEach((kind, i) => {
      const each = K.map((_, k) => times[i * K.length + k][quantity][by]);
      const name = `${quantity}_${kind}`, there = (lists) => [sigma_eps, lists];
      const means = each.map((list) => (list.length ? meanOf(list.map((t) => [t]))[0] : NaN));
      curves[name] = [sigma_eps, means, means.map(() => seeds.length)]; // all seeds, or no mean
      old.forEach((one, seed) => { one[name] = there(each.map((list) => list[seed] ?? NaN)); });
    });
    const ghosts = chosen("seeds") === "each"
      ? old.map((curves) => ({ color: "var(--pst-color-text-muted)", curves })) : [];
    const axis = strengthAxis(sigma_eps[0], sigma_eps.at(-1));
    charts.times.draw({ axis, curves, ghosts, at: at.times ?? sigma });
  }
  function update() {
    const K = strengths[slider.value], found = {};
    for (const name of Object.keys(families)) found[name] = drawRuns(name, K);
    drawTimes(found.fig1.sigma_eps);
    find(".strength output").value = K;
    slider.setAttribute("aria-valuetext", `K = ${K}`);
    find(".say").innerHTML = Object.entries(found).map(([name, { K, sigma_eps, phase, said }]) =>
      `<span class="swatch" style="background: ${PHASE_COLORS[phase]}"></span> ` +
      `${families[name].title.split(":")[0]}: K = ${K}, ${SIGMA} = ${short(sigma_eps)}, ${said}`)
      .join("<br>");
  }
  root.addEventListener("input", update);
  find(".charts").addEventListener("pointermove", (event) => {
    const [name, chart] = Object.entries(charts).find(([, { svg }]) => svg.contains(event.target)) ?? [];
    if (!chart) return;
    at[name] = chart.under(event);
    update();
  });
  find(".charts").addEventListener("pointerleave", () => {
    for (const name of Object.keys(at)) delete at[name];
    update();
  });
  let width = 0;
  new ResizeObserver(() => {
    if (root.clientWidth !== width) update();
    width = root.clientWidth;
  }).observe(root);
  update();
}

export function mountBrowsers(data) {
  for (const root of document.querySelectorAll(".run-browser")) mountBrowser(root, data);
}
