// Logits as `millrace inspect --logits` and llama_logits write them, and how far two differ.
import { readFileSync } from "node:fs";

export function readLogits(path) {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

// sum (x - y)^2 / sum y^2, square root, over all logits; not a number where x has too few.
export function relativeError(x, y) {
  let off = 0, size = 0;
  for (let i = 0; i < y.length; ++i) {
    off += (x[i] - y[i]) ** 2;
    size += y[i] ** 2;
  }
  return Math.sqrt(off / size);
}
