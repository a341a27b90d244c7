// The worker: trains while the page stays free, and finds the borders on the slider's track.

import { IMAGES } from "./package.mjs";
import { largest } from "./network.mjs";
import { decayBorder, noiseOnlyBorders } from "./prediction.mjs";
import { PICTURES, STRENGTHS } from "./settings.mjs";
import { stream } from "./streams.mjs";
import { startRun } from "./training.mjs";

const SLICE = 30; // milliseconds of work between two reports
const DRAWS = 20; // of noise, for each picture
let images = null, run = null, going = false, timer = 0, sent = {}, asked = 0;

// What the network makes of some test images: its guess, and how often it is right under noise.
function answers() {
  const { size, train } = IMAGES, { seed, sigma_eps } = run.setting;
  const eps = stream(seed, "pictures").normals(DRAWS, sigma_eps);
  const guesses = (x, n, noise) => {
    const outputs = run.network.forward(x, n, noise);
    return Array.from({ length: n }, (_, i) => largest(outputs.subarray(10 * i, 10 * i + 10)));
  };
  return PICTURES.map((picture) => {
    const at = train + picture, x = images.pixels.subarray(at * size, (at + 1) * size);
    const copies = new Float32Array(DRAWS * size);
    for (let i = 0; i < DRAWS; i++) copies.set(x, i * size);
    const right = guesses(copies, DRAWS, eps).filter((guess) => guess === images.labels[at]);
    return { guess: guesses(x, 1, null)[0], right: right.length / DRAWS };
  });
}

// What is new since the last report.
function report() {
  const fresh = {};
  for (const [name, values] of Object.entries(run.course)) {
    fresh[name] = Array.isArray(values) ? values.slice(sent[name] ?? 0) : values;
    sent[name] = values.length;
  }
  const { id, step, total, done } = run;
  postMessage({ id, step, total, done, fresh, answers: answers() });
}

function work() {
  if (!going || !run || run.done) return;
  const until = performance.now() + SLICE;
  while (!run.done && performance.now() < until) run.advance();
  report();
  timer = setTimeout(work); // a message that waits is heard first
}

function begin({ id, setting }) {
  run = Object.assign(startRun(setting, images), { id, setting });
  sent = {};
}

// Borders in sigma_eps; without images, the first one is not known.
function predict(id, setting) {
  const borders = noiseOnlyBorders(setting, STRENGTHS), found = [null];
  if (images) {
    const n = setting.batch_size;
    found[0] = decayBorder(setting, images.pixels.subarray(0, n * IMAGES.size), n);
  }
  (function look() {
    if (id !== asked) return; // something else is asked for by now
    const { value, done } = borders.next();
    if (value !== null && value !== undefined) found.push(STRENGTHS[value] ?? Infinity);
    if (done) postMessage({ id, borders: found });
    else setTimeout(look);
  })();
}

onmessage = ({ data }) => {
  clearTimeout(timer);
  if (data.images) images = data.images;
  if (data.predict) predict((asked = data.predict.id), data.predict.setting);
  if (data.start) begin(data.start);
  if ("going" in data) going = data.going;
  if (data.step && run && !run.done) {
    run.advance();
    report();
  }
  work();
};
