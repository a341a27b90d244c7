// The images, as they come in their script: deflated, in base 64.

import { IMAGES } from "./package.mjs";

export async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = (IMAGES.train + IMAGES.test) * IMAGES.size, round = Math.fround;
  const mean = round(IMAGES.mean), std = round(IMAGES.std);
  return { // float32 at each step, as in `nin.networks.data.scale`
    grey: raw.subarray(0, count),
    pixels: Float32Array.from(raw.subarray(0, count), (q) => round(round(q / 255) - mean) / std),
    labels: Int32Array.from(raw.subarray(count)),
  };
}
