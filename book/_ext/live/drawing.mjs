// Small pieces of SVG, and how numbers are written.

export const line = (x1, y1, x2, y2, rest = "") =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" ${rest}/>`;
export const text = (x, y, content, rest = "") => `<text x="${x}" y="${y}" ${rest}>${content}</text>`;
const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";
export const power = (k) =>
  "10" + (k < 0 ? "⁻" : "") + [...String(Math.abs(k))].map((digit) => SUPERSCRIPT[digit]).join("");
export const short = (x) => {
  if (!Number.isFinite(x)) return "–";
  return Math.abs(x) < 1e6 ? String(Number(x.toPrecision(3))) : x.toExponential(2);
};
export const NIW = "w<sub>NI</sub>";
export const SIGMA = "σ<sub>ε</sub>";

// Points as the attribute of a polyline; one that is no number breaks nothing: it is left out.
export function points(xs, ys) {
  let said = "";
  for (let i = 0; i < xs.length; i++)
    if (Number.isFinite(ys[i])) said += `${xs[i].toFixed(1)},${ys[i].toFixed(1)} `;
  return said;
}

// The last place in rising `values` that is at most `value`, or 0.
export function placeOf(values, value) {
  let low = 0, high = values.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle;
    else high = middle;
  }
  return low;
}
