import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

/**
 * Puts all of the app's CSS into the page (first paint = one request) and writes the start script, which knows the
 * names of the chunks that a watch page needs and asks for them before any module has run.
 */
function onePaint(): Plugin {
  return {
    name: 'one-paint',
    apply: 'build',
    enforce: 'post',
    transformIndexHtml: {
      order: 'post',
      handler(html, context) {
        const bundle = context.bundle ?? {};
        let css = '';
        const wanted = new Set<string>();
        const want = (name: string): void => {
          const file = bundle[name];
          if (file?.type !== 'chunk' || file.isEntry || wanted.has(`/${name}`)) return;
          // What the page's own preload has already is not asked for again.
          if (!html.includes(name)) wanted.add(`/${name}`);
          file.imports.forEach(want);
        };
        for (const file of Object.values(bundle)) {
          if (file.type === 'chunk') {
            if (/\/(Watch|controls|elements)-/.test(file.fileName)) want(file.fileName);
          } else if (file.fileName.endsWith('.css')) {
            css += String(file.source);
            html = html.replace(new RegExp(`\\s*<link rel="stylesheet"[^>]*${file.fileName}"[^>]*>`), '');
            delete bundle[file.fileName];
          }
        }
        const start = readFileSync(join(import.meta.dirname, 'start.js'), 'utf8').replace("'watch-chunks'", () => [...wanted].map((name) => JSON.stringify(name)).join(', '));
        const name = `assets/start-${createHash('sha256').update(start).digest('base64url').slice(0, 8)}.js`;
        writeBesides.set(name, start);
        return html
          .replace('<!--critical-css-->', () => `<style>${css.trim()}</style>`)
          .replace('<!--start-script-->', `<script async fetchpriority="high" src="/${name}"></script>`);
      },
    },
  };
}

/** Files that are no part of the module graph, by name within dist. */
const writeBesides = new Map<string, string>();

/** Writes `.br` and `.gz` beside every text file: the server sends them as they are. */
function precompressed(): Plugin {
  let dist = '';
  return {
    name: 'precompressed',
    apply: 'build',
    configResolved: (config) => void (dist = resolve(config.root, config.build.outDir)),
    closeBundle() {
      for (const [name, body] of writeBesides) writeFileSync(join(dist, name), body);
      for (const name of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
        if (!/\.(html|js|css|svg)$/.test(name)) continue;
        const body = readFileSync(join(dist, name));
        writeFileSync(join(dist, `${name}.gz`), gzipSync(body, { level: 9 }));
        writeFileSync(join(dist, `${name}.br`), brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
      }
    },
  };
}

const backend = process.env['TIDEWIRE'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [svelte(), onePaint(), precompressed()],
  build: {
    target: 'es2022',
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    chunkSizeWarningLimit: 1200,
    rolldownOptions: {
      output: {
        entryFileNames: 'assets/[name]-[hash].js',
        chunkFileNames: 'assets/[name]-[hash].js',
        assetFileNames: 'assets/[name]-[hash][extname]',
        codeSplitting: {
          groups: [
            { name: 'hls', test: /node_modules\/hls\.js/ },
            { name: 'controls', test: /node_modules\/(media-chrome|ce-la-react)/ },
            // What only the management room uses of it stays out of the viewers' way.
            { name: 'svelte', test: /(node_modules\/(svelte|esm-env|clsx)\/(?!.*(client\/dom\/css|bindings\/select)\.js)|src\/lib\/api\.ts)/ },
          ],
        },
      },
    },
  },
  // `npm run dev` against a running server.
  server: { proxy: { '/api': backend, '/live': backend } },
});
