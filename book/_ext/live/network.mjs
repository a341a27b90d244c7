// A fully connected network of ReLUs with a noise injection node, trained by plain SGD in float32.
// As `nin.networks.models.MLP` with `nin.attach`, and one step as in `nin.networks.mlp_stack`.

import { stream } from "./streams.mjs";

// c += a b, for c (m, n) row by row, a (m, k) and b (k, n) as [numbers, step to the next of m or n,
// step to the next of k], so that no transpose is ever made. Sums are in double precision. Both are
// packed into strips of four, which the inner loop then reads in order.
const strips = [new Float64Array(0), new Float64Array(0)];

export function addProduct(c, m, n, k, a, b) {
  const A = packed(0, m, k, ...a), B = packed(1, n, k, ...b);
  for (let i = 0; i < m; i += 4) {
    for (let j = 0; j < n; j += 2) {
      let s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;
      let p = i * k, q = (j & ~3) * k + (j & 2);
      for (const end = p + 4 * k; p < end; p += 4, q += 4) {
        const x = B[q], y = B[q + 1];
        const a0 = A[p], a1 = A[p + 1], a2 = A[p + 2], a3 = A[p + 3];
        s00 += a0 * x; s01 += a0 * y; s10 += a1 * x; s11 += a1 * y;
        s20 += a2 * x; s21 += a2 * y; s30 += a3 * x; s31 += a3 * y;
      }
      const at = i * n + j, left = m - i, two = j + 1 < n;
      c[at] += s00;
      if (two) c[at + 1] += s01;
      if (left > 1) { c[at + n] += s10; if (two) c[at + n + 1] += s11; }
      if (left > 2) { c[at + 2 * n] += s20; if (two) c[at + 2 * n + 1] += s21; }
      if (left > 3) { c[at + 3 * n] += s30; if (two) c[at + 3 * n + 1] += s31; }
    }
  }
}

function packed(which, rows, k, numbers, down, along) {
  const size = 4 * k * Math.ceil(rows / 4);
  if (strips[which].length < size) strips[which] = new Float64Array(size);
  const strip = strips[which];
  for (let i = 0, to = 0; i < rows; i += 4) {
    const r0 = i * down, r1 = r0 + down, r2 = r1 + down, r3 = r2 + down, left = rows - i;
    for (let p = 0, at = 0; p < k; p++, at += along, to += 4) { // what is past the end stays unused
      strip[to] = numbers[r0 + at];
      strip[to + 1] = left > 1 ? numbers[r1 + at] : 0;
      strip[to + 2] = left > 2 ? numbers[r2 + at] : 0;
      strip[to + 3] = left > 3 ? numbers[r3 + at] : 0;
    }
  }
  return strip;
}

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

export function norm(values) {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

// `sum` writes dL/dz into `delta`, where that is given, and returns loss and hits, summed over the
// batch. `bend` makes a direction u into H u, for the Hessian H of a sample's loss by its outputs z.
const LOSSES = {
  ce: {
    sum(z, y, n, d, delta) {
      let total = 0, hits = 0;
      for (let i = 0; i < n; i++) {
        const row = z.subarray(i * d, (i + 1) * d), top = largest(row);
        let all = 0;
        for (let j = 0; j < d; j++) all += Math.exp(row[j] - row[top]);
        total += Math.fround(Math.log(all) + row[top] - row[y[i]]);
        hits += top === y[i];
        if (delta) for (let j = 0; j < d; j++)
          delta[i * d + j] = Math.exp(row[j] - row[top]) / all - (j === y[i]);
      }
      return [total, hits];
    },
    bend(row, u) {
      const top = row[largest(row)];
      let all = 0, mean = 0;
      for (let j = 0; j < row.length; j++) {
        const p = Math.exp(row[j] - top);
        all += p;
        mean += p * u[j];
      }
      for (let j = 0; j < row.length; j++) u[j] = Math.exp(row[j] - top) / all * (u[j] - mean / all);
    },
  },
  mse: { // the mean over the outputs, `mse_norm="mean"`
    sum(z, y, n, d, delta) {
      let total = 0, hits = 0;
      for (let i = 0; i < n; i++) {
        const row = z.subarray(i * d, (i + 1) * d);
        let squares = 0;
        for (let j = 0; j < d; j++) {
          const off = row[j] - (j === y[i]);
          squares += off * off;
          if (delta) delta[i * d + j] = (2 / d) * off;
        }
        total += Math.fround(squares / d);
        hits += largest(row) === y[i];
      }
      return [total, hits];
    },
    bend(row, u) {
      for (let j = 0; j < row.length; j++) u[j] *= 2 / row.length;
    },
  },
};

export function largest(row) {
  let top = 0;
  for (let j = 1; j < row.length; j++) if (row[j] > row[top]) top = j;
  return top;
}

// `sizes`: of inputs, hidden layers and outputs; `layer`: where the node is, from 0.
export function makeNetwork({ sizes, layer, loss, seed }) {
  const depth = sizes.length - 1, weights = [], biases = [], draws = stream(seed, "weights");
  for (let l = 0; l < depth; l++) {
    weights.push(draws.normals(sizes[l] * sizes[l + 1], 1 / Math.sqrt(sizes[l])));
    biases.push(new Float32Array(sizes[l + 1]));
  }
  const w_ni = stream(seed, "w_ni").normals(sizes[layer + 1])
    .map((value) => value * Math.fround(1 / Math.sqrt(sizes[layer])));
  return networkOf({ sizes, layer, loss, weights, biases, w_ni });
}

export function networkOf({ sizes, layer, loss, weights, biases, w_ni }) {
  const depth = sizes.length - 1, { sum, bend } = LOSSES[loss];
  const spaces = new Map(); // of work, by batch size

  function space(n) {
    if (!spaces.has(n)) {
      const make = (size) => new Float32Array(n * size);
      spaces.set(n, {
        z: sizes.slice(1).map(make), // pre-activations, then in place their ReLU
        delta: sizes.slice(1).map(make), // -eta / n times the gradient by them
        clean: sizes.slice(1).map(make), // pre-activations without the noise
        along: sizes.slice(1).map(make), // a direction, carried forth and back
        node: make(sizes[layer + 1]), // pre-activations of the node's layer, noise and all
      });
    }
    return spaces.get(n);
  }

  function forward(x, n, eps) {
    const { z, node } = space(n);
    for (let l = 0; l < depth; l++) {
      const width = sizes[l + 1], noisy = eps && l === layer;
      for (let i = 0, at = 0; i < n; i++)
        for (let j = 0; j < width; j++, at++)
          z[l][at] = biases[l][j] + (noisy ? eps[i] * w_ni[j] : 0);
      pass(z[l], n, l, l ? z[l - 1] : x);
      if (l === layer) node.set(z[l]);
      if (l < depth - 1) for (let i = 0; i < z[l].length; i++) if (z[l][i] <= 0) z[l][i] = 0;
    }
    return z[depth - 1];
  }
  // Add a layer's weights times its inputs.
  function pass(into, n, l, inputs) {
    const k = sizes[l];
    addProduct(into, n, sizes[l + 1], k, [inputs, k, 1], [weights[l], k, 1]);
  }

  // One SGD step. Returns loss and share of hits of the batch before it, noise on, and if asked for
  // the local curvature.
  function step(x, y, eps, eta, look = false) {
    const n = y.length, { z, delta } = space(n), last = delta[depth - 1];
    const [loss, hits] = sum(forward(x, n, eps), y, n, sizes[depth], last);
    const curvature = look ? dot(w_ni, localProduct(w_ni, n, eps)) / norm(w_ni) ** 2 : NaN;
    for (let i = 0; i < last.length; i++) last[i] *= -eta / n;
    for (let l = depth - 1; l >= 0; l--) {
      const [inside, width] = [sizes[l], sizes[l + 1]], down = delta[l];
      if (l) {
        const below = delta[l - 1].fill(0), h = z[l - 1];
        addProduct(below, n, inside, width, [down, width, 1], [weights[l], 1, inside]);
        for (let i = 0; i < below.length; i++) if (h[i] <= 0) below[i] = 0;
      }
      const inputs = l ? z[l - 1] : x;
      addProduct(weights[l], width, inside, n, [down, 1, width], [inputs, 1, inside]);
      for (let j = 0; j < width; j++) {
        let shift = 0, noise = 0;
        for (let i = 0, at = j; i < n; i++, at += width) {
          shift += down[at];
          noise += down[at] * eps[i];
        }
        biases[l][j] += shift;
        if (l === layer) w_ni[j] += noise;
      }
    }
    return { loss: Math.fround(loss / n), accuracy: hits / n, curvature };
  }

  // <H> v of the batch of the last forward pass, at eps = 0, for a direction v of the node's layer.
  // A ReLU has no second derivative: only the outputs' Hessian counts.
  function localProduct(v, n, eps) {
    const { node, clean, along } = space(n), d = sizes[depth], width = v.length;
    for (let i = 0, at = 0; i < n; i++)
      for (let j = 0; j < width; j++, at++) {
        clean[layer][at] = node[at] - (eps ? eps[i] * w_ni[j] : 0);
        along[layer][at] = v[j];
      }
    const gate = (h, u) => { for (let i = 0; i < h.length; i++) if (h[i] <= 0) h[i] = u[i] = 0; };
    for (let l = layer + 1; l < depth; l++) {
      gate(clean[l - 1], along[l - 1]);
      for (let i = 0; i < n; i++) clean[l].set(biases[l], i * sizes[l + 1]);
      pass(clean[l], n, l, clean[l - 1]);
      pass(along[l].fill(0), n, l, along[l - 1]);
    }
    for (let i = 0; i < n; i++) {
      const row = (of) => of[depth - 1].subarray(i * d, (i + 1) * d);
      bend(row(clean), row(along));
    }
    for (let l = depth - 1; l > layer; l--) {
      const [inside, next] = [sizes[l], sizes[l + 1]];
      addProduct(along[l - 1].fill(0), n, inside, next, [along[l], next, 1], [weights[l], 1, inside]);
      gate(clean[l - 1], along[l - 1]);
    }
    const mean = new Float64Array(width);
    for (let i = 0, at = 0; i < n; i++)
      for (let j = 0; j < width; j++, at++) mean[j] += along[layer][at] / n;
    return mean;
  }

  // Mean loss and share of hits without noise.
  function evaluate(x, y, chunk = 100) {
    const inputs = sizes[0];
    let loss = 0, hits = 0;
    for (let from = 0; from < y.length; from += chunk) {
      const labels = y.subarray(from, from + chunk), n = labels.length;
      const outputs = forward(x.subarray(from * inputs, (from + n) * inputs), n, null);
      const [some, right] = sum(outputs, labels, n, sizes[depth], null);
      loss += some;
      hits += right;
    }
    return [loss / y.length, hits / y.length];
  }
  return { sizes, layer, loss, weights, biases, w_ni, forward, step, localProduct, evaluate };
}
