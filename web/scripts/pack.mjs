// After `vite build`: compresses the bundle, checks its size, and notes which sources it was made from.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { hashOfSources } from './sources.mjs';

const MOST = 300 * 1024;
const EXPECTED = ['app.css', 'app.js', 'icon.svg', 'index.html'];
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, process.argv[2] ?? 'dist');

const files = readdirSync(dist).filter((f) => !f.endsWith('.gz') && f !== 'sources.sha256').sort();
if (files.join() !== EXPECTED.join()) throw new Error(`the bundle must be ${EXPECTED}, but is ${files}`);
let total = 0;
for (const file of files) {
  const packed = gzipSync(readFileSync(join(dist, file)), { level: 9 });
  writeFileSync(join(dist, `${file}.gz`), packed);
  total += packed.length;
}
writeFileSync(join(dist, 'sources.sha256'), `${hashOfSources(root)}\n`);
console.log(`${total} bytes compressed`);
if (total > MOST) throw new Error(`the bundle has ${total} bytes compressed, but at most ${MOST} are allowed`);
