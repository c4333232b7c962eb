// The hash of everything that the bundle is made from: so a bundle that is out of date is noticed without building it.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

export function hashOfSources(root) {
  const files = [];
  const walk = (path) => {
    if (!statSync(path).isDirectory()) return files.push(path);
    for (const name of readdirSync(path)) walk(join(path, name));
  };
  for (const name of ['index.html', 'package.json', 'package-lock.json', 'tsconfig.json', 'svelte.config.js',
    'vite.config.ts', 'public', 'scripts', 'src']) walk(join(root, name));
  const hash = createHash('sha256');
  for (const path of files.map((f) => relative(root, f).replaceAll('\\', '/')).sort()) {
    const bytes = readFileSync(join(root, path));
    hash.update(`${path}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex');
}
