// The live network in the page: controls, curves, runs to keep. The work is done by workers.

import { CLASSES, IMAGES } from "./package.mjs";
import { makeChart, stepAxis } from "./chart.mjs";
import { NIW, SIGMA, placeOf, short } from "./drawing.mjs";
import { unpacked } from "./images.mjs";
import { csv, download, keep, recall, store } from "./memory.mjs";
import { mountPath } from "./path.mjs";
import { classify, evidence } from "./phases.mjs";
import { COLORS, PHASES, PHASE_COLORS } from "./rule.mjs";
import {
  CHOICES, DEFAULT, PICTURES, STRENGTHS, commands, described, fragment, settingOf, valid,
} from "./settings.mjs";
import { TRACK, paintTrack, shareOf } from "./track.mjs";
import { stepsPerEpoch } from "./training.mjs";

const START = { ...DEFAULT, sigma_eps: 15 };
const OPEN = ["kind"]; // choices that are always in sight
const WAIT = 250; // milliseconds without a move of a control, before a run begins
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const CHARTS = [
  {
    title: "norms of the weights, over their start", log: [-3, 4], levels: [1],
    series: {
      w_ni: { label: `|${NIW}|`, color: COLORS.w_ni, width: 3, ghost: true },
      next: { label: "next layer", color: COLORS.next, dash: "6 3" },
    },
  },
  {
    title: "losses", log: [-3, 4],
    series: {
      loss: { label: "batch, with noise", color: COLORS.train, width: 1.5, dash: "2 2", ghost: true },
      train_loss: { label: "training, no noise", color: COLORS.train },
      test_loss: { label: "test, no noise", color: COLORS.test },
    },
  },
  {
    title: "accuracy", log: null,
    series: {
      accuracy: { label: "batch, with noise", color: COLORS.train, width: 1.5, dash: "2 2" },
      test_accuracy: { label: "test, no noise", color: COLORS.test, ghost: true },
    },
  },
  {
    title: `curvature along ${NIW}; what a step takes off ln|${NIW}|`, log: [-6, 2], levels: [2],
    series: {
      curvature: { label: "local curvature", color: COLORS.next, dash: "6 3" },
      rate: { label: "rate by Eq. (2)", color: COLORS.w_ni, width: 1.5, ghost: true },
      measured: { label: "rate measured", color: COLORS.w_ni, width: 3, dash: "1 5" },
    },
  },
];

// How fast ln|w_ni| has fallen, over stretches that grow with time: noise moves each single step.
function measuredRate({ step, w_ni }) {
  const steps = [], rates = [];
  for (let i = 0; i < step.length; ) {
    const j = placeOf(step, step[i] + Math.max(20, step[i] / 3));
    if (j <= i || step[j] - step[i] < 20) break;
    steps.push((step[i] + step[j]) / 2);
    rates.push(-Math.log(w_ni[j] / w_ni[i]) / (step[j] - step[i]));
    i = j;
  }
  return [steps, rates];
}
function curvesOf(course) {
  const { step, eval_step } = course, over = (values) => values.map((v) => v / values[0]);
  return {
    w_ni: [step, over(course.w_ni)],
    next: [step, over(course.next)],
    loss: [step, course.loss],
    accuracy: [step, course.accuracy],
    curvature: [step, course.curvature],
    rate: [step, course.rate],
    measured: measuredRate(course),
    train_loss: [eval_step, course.train_loss],
    test_loss: [eval_step, course.test_loss],
    test_accuracy: [eval_step, course.test_accuracy],
  };
}

const chip = (index) => `<span class="swatch" style="background: ${PHASE_COLORS[index]}"></span>`;

function select(name) {
  const [label, values, said] = CHOICES[name];
  const options = values.map((v) => `<option value="${v}">${said(v)}</option>`);
  return `<label>${label} <select name="${name}">${options.join("")}</select></label>`;
}

const FRAME = `
<div class="strength">
  <label for="live-strength"><span>noise strength ${SIGMA}</span> <output></output></label>
  <p class="now"></p>
  ${TRACK("live-strength", STRENGTHS.length - 1)}
</div>
<div class="controls" role="group" aria-label="The run">
  <button type="button" class="main" data-do="run">Run</button>
  <button type="button" data-do="step">Step</button>
  <button type="button" data-do="reset">Reset</button>
  ${OPEN.map(select).join("")}
</div>
<progress max="1" value="0" aria-label="Steps done"></progress>
<p class="say" role="status" aria-live="polite"></p>
<div class="charts"></div>
<div class="read"><label for="live-read">read at step</label>
  <input type="range" id="live-read" min="0" max="1000" value="1000">
  <output>the end</output></div>
<details class="more"><summary>More settings</summary><div class="controls" role="group"
  aria-label="More settings">${Object.keys(CHOICES).filter((n) => !OPEN.includes(n)).map(select).join("")}
  </div></details>
<div class="pictures" role="group" aria-label="Test images, and what the network makes of them"></div>
<details class="kept"><summary>Runs kept in this browser: <span class="count">0</span></summary>
  <ul></ul><button type="button" data-do="forget">Forget them all</button></details>
<details class="take"><summary>Take this run along</summary>
  <div class="controls"><button type="button" data-do="link">Copy the link</button>
    <button type="button" data-do="csv">CSV</button><button type="button" data-do="json">JSON</button></div>
  <p>The link holds the whole setting; who opens it sees the same run. The same noise at the paper's
  scale, from the folder of the project:</p><div class="commands"></div></details>`;

function mount(root, { assets, workerSource, guided }) {
  root.innerHTML = (guided ? '<div class="path"></div>' : "") + FRAME;
  const find = (selector) => root.querySelector(selector);
  const slider = find("#live-strength"), reading = find("#live-read"), say = find(".say");
  const charts = CHARTS.map(makeChart);
  charts.forEach(({ element }) => find(".charts").append(element));

  let setting = settingOf(location.hash) ?? START;
  let kept = recall(), current = null, borders = [], at = null, timer = 0, ids = 0, predictions = 0, path = null;
  let going = false, drawnAt = 0;

  // ---- Workers, one to train and one for the slider's track; images when first needed ----------

  const source = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  const workers = {};
  function worker(name, hear) {
    if (!workers[name]) {
      workers[name] = new Worker(source);
      workers[name].onmessage = ({ data }) => hear(data);
      workers[name].onerror = (event) => { say.textContent = `The run failed: ${event.message}`; };
    }
    return workers[name];
  }
  const trainer = () => worker("trainer", hearRun);
  const painter = () => worker("painter", hearBorders);
  let images = null, loaded = false;
  function loadImages() {
    images ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL("images.js", assets);
      script.onload = resolve;
      script.onerror = () => reject(new Error(`the images did not load: ${script.src}`));
      document.head.append(script);
    }).then(() => unpacked(globalThis.ninImages)).then((all) => {
      const { pixels, labels } = all;
      trainer().postMessage({ images: { pixels, labels } });
      painter().postMessage({ images: { pixels, labels } });
      loaded = true;
      showPictures(all);
      predict();
    });
    return images;
  }

  // ---- The slider and its track ---------------------------------------------------------------

  function predicted(strength) {
    const [decay, catapult, divergent] = borders;
    if (!borders.length) return null;
    if (strength >= divergent) return 3;
    if (strength >= catapult) return 2;
    if (decay === null) return null;
    return strength >= decay ? 1 : 0;
  }
  const trackKey = ({ sigma_eps, kind, wrong, ...rest }) => JSON.stringify(rest);
  let painted = "";
  function predict() { // the track is another one where anything but the strength is
    const key = trackKey(setting), full = `${key} ${loaded}`;
    if (full === painted) return;
    if (!painted.startsWith(key)) borders = []; // with images only the first border is another one
    painted = full;
    paint();
    painter().postMessage({ predict: { id: ++predictions, setting } });
  }
  function hearBorders(data) {
    if (data.id !== predictions) return;
    borders = data.borders;
    paint();
    showStrength();
  }
  function paint() {
    const places = borders.map((border) => (border === null ? null : shareOf(STRENGTHS, border)));
    if (borders.length) return paintTrack(root, places);
    find(".bands").style.background = find(".bands").innerHTML = "";
    find(".names").innerHTML = "<span>the phases of these weights are being predicted …</span>";
  }
  function showStrength() {
    const { sigma_eps } = setting, phase = predicted(sigma_eps);
    slider.value = Math.round((STRENGTHS.length - 1) * shareOf(STRENGTHS, sigma_eps));
    find(".strength output").value = sigma_eps;
    const said = phase === null ? "" : `predicted: ${PHASES[phase]}`;
    find(".now").innerHTML = phase === null ? "" : `${chip(phase)} ${said}`;
    slider.setAttribute("aria-valuetext", `${sigma_eps}${said && `, ${said}`}`);
  }
  function showSetting() {
    for (const [name] of Object.entries(CHOICES)) find(`select[name="${name}"]`).value = setting[name];
    [...find('select[name="layer"]').options].forEach((option) => {
      option.disabled = option.value > setting.depth;
    });
    find(".commands").innerHTML = commands(setting).map((c) => `<pre><code>${c}</code></pre>`).join("");
    showStrength();
    predict();
  }

  // ---- Runs -----------------------------------------------------------------------------------

  const empty = () => ({
    step: [], loss: [], accuracy: [], w_ni: [], next: [], curvature: [], rate: [],
    eval_step: [], train_loss: [], train_accuracy: [], test_loss: [], test_accuracy: [],
    diverged: -1,
  });
  async function begin(go = true) {
    clearTimeout(timer);
    const id = ++ids;
    current = { id, setting: { ...setting }, course: empty(), found: null, step: 0, total: 1, done: false };
    at = null;
    reading.value = reading.max;
    going = go;
    history.replaceState(null, "", fragment(setting));
    root.dataset.state = "running";
    say.textContent = go ? "Training …" : "";
    showButtons();
    try {
      await loadImages();
    } catch (error) {
      say.textContent = `This cannot run: ${error.message}.`;
      images = null;
      return;
    }
    if (current.id !== id) return; // another run has begun meanwhile
    trainer().postMessage({ start: { id, setting: current.setting }, going });
  }
  function hearRun({ id, step, total, done, fresh, answers }) {
    if (!current || id !== current.id) return;
    for (const [name, value] of Object.entries(fresh)) {
      if (Array.isArray(value)) current.course[name].push(...value);
      else current.course[name] = value;
    }
    Object.assign(current, { step, total, done });
    find("progress").value = done ? 1 : step / total;
    showAnswers(answers);
    if (done) finish();
    else if (!STILL.matches || performance.now() - drawnAt > 1000 || !going) redraw();
  }
  function finish() {
    going = false;
    const { course } = current, found = (current.found = classify(course)), { diverged } = course;
    find(".say").innerHTML = `${chip(found.index)} <strong>${found.phase}</strong>: ` +
      `${evidence(found, diverged, `the loss was no longer finite at step ${diverged}`)}.`;
    kept = keep(kept, { setting: current.setting, course, found, drawn: true });
    showKept();
    showButtons();
    redraw();
    root.dataset.state = "done";
    path?.finished(current);
  }
  function showButtons() {
    const started = current && !current.done;
    find('[data-do="run"]').textContent = going ? "Pause" : started && current.step ? "Go on" : "Run";
    find('[data-do="step"]').disabled = going;
    find('[data-do="reset"]').disabled = !current;
    for (const name of ["csv", "json"]) find(`[data-do="${name}"]`).disabled = !current?.course.step.length;
  }
  const deeds = {
    run() {
      if (!current || current.done) return begin();
      going = !going;
      trainer().postMessage({ going });
      say.textContent = going ? "Training …" : `Paused at step ${current.step} of ${current.total}.`;
      showButtons();
    },
    async step() {
      if (!current || current.done) await begin(false);
      trainer().postMessage({ step: true });
      say.textContent = `One step more, of ${current.total > 1 ? current.total : "the run"}.`;
    },
    reset() {
      trainer().postMessage({ going: false });
      current = null;
      going = false;
      find("progress").value = 0;
      say.textContent = "";
      showButtons();
      redraw();
    },
    forget() {
      kept = [];
      store(kept);
      showKept();
      redraw();
    },
    async link() {
      history.replaceState(null, "", fragment(setting));
      try {
        await navigator.clipboard.writeText(location.href);
        say.textContent = "The link is in the clipboard.";
      } catch {
        say.textContent = `The link is the address of this page: ${location.href}`;
      }
    },
    csv: () => download("nin-run.csv", "text/csv", csv(current)),
    json() {
      const { setting, course, found } = current;
      download("nin-run.json", "application/json", JSON.stringify({ setting, found, course }));
    },
  };

  // ---- Curves, pictures, kept runs ------------------------------------------------------------

  function redraw() {
    drawnAt = performance.now();
    const running = current ? JSON.stringify(current.setting) : "";
    const ghosts = kept.filter(({ drawn, setting }) => drawn && JSON.stringify(setting) !== running)
      .map(({ course, found }) => ({ color: PHASE_COLORS[found.index], curves: curvesOf(course) }));
    const totals = kept.filter(({ drawn }) => drawn).map(({ course }) => course.step.at(-1) ?? 1);
    const total = Math.max(current?.total ?? setting.epochs * stepsPerEpoch(setting), ...totals);
    const curves = current ? curvesOf(current.course) : {};
    charts.forEach((chart) => chart.draw({ axis: stepAxis(total), curves, ghosts, at }));
  }
  function readAt(step) {
    at = step;
    find(".read output").value = step ?? "the end";
    reading.setAttribute("aria-valuetext", step === null ? "the end" : `step ${step}`);
    redraw();
  }
  function showPictures({ grey, labels }) {
    find(".pictures").innerHTML = PICTURES.map((picture) => {
      const label = CLASSES[labels[IMAGES.train + picture]];
      return `<div><canvas width="14" height="14" role="img" aria-label="${label}"></canvas>` +
        `<p><b>${label}</b><br><span>&nbsp;</span></p></div>`;
    }).join("");
    root.querySelectorAll("canvas").forEach((canvas, i) => {
      const from = (IMAGES.train + PICTURES[i]) * IMAGES.size, image = new ImageData(14, 14);
      for (let p = 0; p < IMAGES.size; p++)
        image.data.set([...Array(3).fill(255 - grey[from + p]), 255], 4 * p);
      canvas.getContext("2d").putImageData(image, 0, 0);
    });
  }
  function showAnswers(answers) {
    root.querySelectorAll(".pictures span").forEach((span, i) => {
      const { guess, right } = answers[i];
      span.innerHTML = `no noise: ${CLASSES[guess]}<br>noise: right ${Math.round(100 * right)} %`;
    });
  }
  function showKept() {
    find(".kept .count").textContent = kept.length;
    find(".kept ul").innerHTML = kept.map(({ setting, found, drawn }, i) =>
      `<li><label><input type="checkbox" value="${i}" ${drawn ? "checked" : ""}> ${chip(found.index)} ` +
      `${found.phase}: ${described(setting)}</label> <button type="button" data-again="${i}" ` +
      `aria-label="Run again: ${described(setting)}">again</button></li>`).join("");
  }

  // ---- What a reader does -----------------------------------------------------------------------

  function choose(asked) {
    setting = valid({ ...setting, ...asked });
    showSetting();
    clearTimeout(timer);
    trainer().postMessage({ going: false }); // a run of another setting is of no interest any more
    going = false;
    root.dataset.state = "waiting";
    timer = setTimeout(begin, WAIT);
  }
  root.addEventListener("input", ({ target }) => {
    if (target === slider) choose({ sigma_eps: STRENGTHS[slider.value] });
    else if (target === reading) {
      const total = current?.total ?? 1;
      const step = Math.round(Math.expm1((reading.value / reading.max) * Math.log1p(total)));
      readAt(reading.value === reading.max ? null : step);
    } else if (target.matches(".kept input")) {
      kept[target.value].drawn = target.checked;
      store(kept);
      redraw();
    } else if (target.matches("select")) choose({ [target.name]: target.value });
  });
  root.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (button?.dataset.do) deeds[button.dataset.do]();
    else if (button?.dataset.again) choose(kept[button.dataset.again].setting);
  });
  find(".charts").addEventListener("pointermove", (event) => {
    const chart = charts.find(({ svg }) => svg.contains(event.target));
    if (chart) readAt(chart.under(event));
  });
  find(".charts").addEventListener("pointerleave", () => readAt(null));
  root.addEventListener("pointerdown", () => loadImages().catch(() => {}), { once: true });
  addEventListener("hashchange", () => {
    const asked = settingOf(location.hash);
    if (asked) choose(asked);
  });
  let width = 0;
  new ResizeObserver(() => {
    if (root.clientWidth !== width) redraw();
    width = root.clientWidth;
  }).observe(root);

  if (guided) path = mountPath(find(".path"), choose);
  showSetting();
  showKept();
  showButtons();
  redraw();
  if (settingOf(location.hash)) begin();
}

// `assets`: where this script lies. Several may stand in a page, but one is the rule.
export function mountAll(assets, workerSource) {
  for (const root of document.querySelectorAll(".live"))
    mount(root, { assets, workerSource, guided: root.hasAttribute("data-guided") });
}
