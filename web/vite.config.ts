import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

/**
 * Puts all of the app's CSS into the page (first paint = one request) and names the chunks that a watch page needs, so
 * that the inline start script can ask for them before any module has run.
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
        const files = Object.values(bundle);
        let css = '';
        for (const file of files) {
          if (file.type !== 'asset' || !file.fileName.endsWith('.css')) continue;
          css += String(file.source);
          html = html.replace(new RegExp(`\\s*<link rel="stylesheet"[^>]*${file.fileName}"[^>]*>`), '');
          delete bundle[file.fileName];
        }
        const wanted = files.flatMap((file) =>
          file.type === 'chunk' && /\/(hls|Watch|controls|elements)-/.test(file.fileName) ? [`/${file.fileName}`] : [],
        );
        return html
          .replace('<!--critical-css-->', () => `<style>${css.trim()}</style>`)
          .replace('[/*watch-chunks*/]', () => JSON.stringify(wanted));
      },
    },
  };
}

export default defineConfig({
  plugins: [svelte(), onePaint()],
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
            { name: 'svelte', test: /node_modules\/(svelte|esm-env|clsx)\// },
          ],
        },
      },
    },
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8080', '/live': 'http://127.0.0.1:8080' } },
});
