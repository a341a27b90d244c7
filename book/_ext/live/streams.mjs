// The random numbers of `nin.networks.seeds.generator`: PyTorch's own, from the same seeds.

const fraction = (x) => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0;
const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n++) if (PRIMES.every((p) => n % p)) PRIMES.push(n);
const START = PRIMES.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
const ROUNDS = PRIMES.map((p) => fraction(Math.cbrt(p)));
const turned = (word, by) => (word >>> by) | (word << (32 - by));

// SHA-256 of a text of ASCII, as eight words of 32 bits.
export function sha256(text) {
  const length = ((text.length + 8) >> 6) + 1;
  const words = new Int32Array(16 * length);
  for (let i = 0; i < text.length; i++) words[i >> 2] |= text.charCodeAt(i) << (24 - 8 * (i & 3));
  words[text.length >> 2] |= 0x80 << (24 - 8 * (text.length & 3));
  words[16 * length - 1] = 8 * text.length;
  const sum = Int32Array.from(START), w = new Int32Array(64);
  for (let block = 0; block < words.length; block += 16) {
    let [a, b, c, d, e, f, g, h] = sum;
    for (let t = 0; t < 64; t++) {
      if (t < 16) w[t] = words[block + t];
      else {
        const x = w[t - 15], y = w[t - 2];
        w[t] = w[t - 16] + w[t - 7] + (turned(x, 7) ^ turned(x, 18) ^ (x >>> 3)) +
          (turned(y, 17) ^ turned(y, 19) ^ (y >>> 10));
      }
      const up = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) +
        ROUNDS[t] + w[t];
      const down = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + up) | 0, c, b, a, (up + down) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => { sum[i] += word; });
  }
  return sum;
}

// Mersenne Twister 19937, seeded by 32 bits: a function that returns the next 32.
function twister(seed) {
  const N = 624, M = 397, state = new Int32Array(N);
  state[0] = seed;
  for (let i = 1; i < N; i++)
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let at = N;
  return () => {
    if (at === N) {
      for (let i = 0; i < N; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
        state[i] = state[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

// `generator(seed, name, ...)` of the package. Names are words or whole numbers, as in Python.
export function stream(seed, ...name) {
  const parts = name.map((part) => (typeof part === "string" ? `'${part}'` : String(part)));
  const [high, low] = sha256(`(${[seed, ...parts].join(", ")})`);
  const next = twister((low >>> 1) | (high << 31)); // the lower half of 63 bits: PyTorch seeds by it
  const half = () => (next() & 0xffffff) * 2 ** -24; // a float32 in [0, 1)
  function double() {
    const high = next() & 0x1fffff; // 53 bits of 64
    return (high * 2 ** 32 + next()) * 2 ** -53;
  }

  // Box and Muller in float32, eight pairs at a time.
  function fillSixteen(values, at, std) {
    for (let i = at; i < at + 8; i++) {
      const radius = Math.fround(Math.sqrt(-2 * Math.log(1 - values[i])));
      const angle = Math.fround(2 * Math.PI * values[i + 8]);
      values[i] = radius * Math.cos(angle) * std;
      values[i + 8] = radius * Math.sin(angle) * std;
    }
  }
  // `torch.randn(n) * std`, to the rounding of logarithm, sine and cosine.
  function normals(n, std = 1) {
    const values = new Float32Array(n);
    if (n < 16) {
      for (let i = 0; i < n; i += 2) {
        const angle = 2 * Math.PI * double(), radius = Math.sqrt(-2 * Math.log1p(-double()));
        values[i] = radius * Math.cos(angle) * std;
        if (i + 1 < n) values[i + 1] = radius * Math.sin(angle) * std;
      }
      return values;
    }
    for (let i = 0; i < n; i++) values[i] = half();
    for (let i = 0; i + 16 <= n; i += 16) fillSixteen(values, i, std);
    if (n % 16) { // the last sixteen are drawn again
      for (let i = n - 16; i < n; i++) values[i] = half();
      fillSixteen(values, n - 16, std);
    }
    return values;
  }
  const uniforms = (n) => Float32Array.from({ length: n }, half);
  const integers = (below, n) => Int32Array.from({ length: n }, () => next() % below);
  function permutation(n) {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = 0; i < n - 1; i++) {
      const j = i + (next() % (n - i));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
  return { normals, uniforms, integers, permutation };
}
