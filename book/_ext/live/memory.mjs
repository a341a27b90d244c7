// Runs that are kept across reloads of the page, and files made of a run.

const PLACE = "nin-live-runs", MOST = 24; // runs: some 20 kB each
export const DRAWN = 5; // of them are drawn by default

const curves = (course) => Object.fromEntries(Object.entries(course).map(([name, values]) => [
  name, Array.isArray(values) ? values.map((v) => Number(v.toPrecision(5))) : values]));

// Runs are { setting, course, found, drawn }, the newest first.
export function recall() {
  try {
    const runs = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    return Array.isArray(runs) ? runs : [];
  } catch {
    return []; // a browser that keeps nothing, or something else in its place
  }
}
export function keep(runs, run) {
  const key = JSON.stringify(run.setting);
  const others = runs.filter(({ setting }) => JSON.stringify(setting) !== key).slice(0, MOST - 1);
  let drawn = 0;
  const kept = [{ ...run, course: curves(run.course) }, ...others]
    .map((each) => ({ ...each, drawn: each.drawn && drawn++ < DRAWN }));
  store(kept);
  return kept;
}
// Whether the browser kept them.
export function store(runs) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(runs));
    return true;
  } catch {
    return false;
  }
}

const RECORDS = ["step", "loss", "accuracy", "w_ni", "next", "curvature", "rate"];
const CLEAN = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"];

// A row for each step that was recorded or evaluated; what was not measured is empty.
export function csv({ setting, course }) {
  const rows = new Map(), at = (step) => rows.get(step) ?? rows.set(step, {}).get(step);
  course.step.forEach((step, i) => { for (const name of RECORDS) at(step)[name] = course[name][i]; });
  course.eval_step.forEach((step, i) => {
    for (const name of CLEAN) at(step)[name] = course[name][i];
  });
  const columns = [...RECORDS, ...CLEAN], cell = (value) => (Number.isFinite(value) ? value : "");
  const lines = [...rows].sort(([a], [b]) => a - b)
    .map(([step, row]) => columns.map((name) => cell({ ...row, step }[name])).join(","));
  const about = Object.entries(setting).map(([name, value]) => `${name}=${value}`).join(" ");
  return [`# ${about}`, columns.join(","), ...lines, ""].join("\n");
}

export function download(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 600_000); // a busy browser reads it much later
}
