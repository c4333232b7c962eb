import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// Names without hashes: the server tells versions apart by ETag.
export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    rollupOptions: {
      output: {
        entryFileNames: 'app.js',
        assetFileNames: (asset) => (asset.names.some((n) => n.endsWith('.css')) ? 'app.css' : '[name][extname]'),
        codeSplitting: false,
      },
    },
  },
  // A dev page against a server that runs: MILLRACE=http://127.0.0.1:8080 npm run dev
  server: {
    proxy: Object.fromEntries(
      ['/v1', '/debug', '/metrics', '/tokenize'].map((p) => [p, process.env.MILLRACE ?? 'http://127.0.0.1:8080']),
    ),
  },
});
