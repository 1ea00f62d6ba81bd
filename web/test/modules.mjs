// TypeScript modules of the pages as the tests load them: through Vite, without a browser.
import { createServer } from 'vite';

const server = await createServer({ configFile: false, root: new URL('..', import.meta.url).pathname, appType: 'custom', logLevel: 'error', server: { middlewareMode: true, ws: false, watch: null }, optimizeDeps: { noDiscovery: true } });
export const load = (path) => server.ssrLoadModule(path);
export const close = () => server.close();
