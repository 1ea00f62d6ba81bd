// Every page and state at three widths, dark and light, with axe on each: `npm run pictures -- FOLDER [NAME-PART]`.
// Exits with 1 when axe finds something serious. Runs its own mock, needs `npm run build` before.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { openBrowser } from './browser.mjs';
import { manageShots } from './manage.mjs';

const [folder, only = ''] = process.argv.slice(2);
if (!folder) throw new Error('usage: npm run pictures -- FOLDER [NAME-PART]');
mkdirSync(folder, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const port = 8097;
const base = `http://127.0.0.1:${port}`;
const mock = spawn('node', [new URL('../mock/server.mjs', import.meta.url).pathname, '--port', `${port}`], { stdio: ['ignore', 'pipe', 'inherit'] });
await new Promise((done) => mock.stdout.once('data', done));
await new Promise((done) => setTimeout(done, 8000));
const set = (path) => fetch(`${base}/mock/${path}`, { method: 'POST' });

const playing = async (page) => {
  await page.waitForFunction(() => performance.getEntriesByName('tidewire:first-frame').length > 0, null, { polling: 50, timeout: 15_000 });
  await page.waitForFunction(() => customElements.get('media-controller'));
  await page.mouse.move(200, 150);
  await page.mouse.move(210, 150);
  await page.waitForTimeout(700);
};
const watch = (after = async () => {}) => async (page) => {
  await page.goto(`${base}/watch/demo`);
  await playing(page);
  await after(page);
};
const state = (name, after = async () => {}) => async (page) => {
  await page.goto(`${base}/watch/${name}`);
  await page.waitForTimeout(600);
  await after(page);
};
const press = (key) => async (page) => {
  await page.keyboard.press(key);
  await page.waitForTimeout(900);
};
const shots = [
  ['directory', (page) => page.goto(`${base}/`).then(() => page.waitForTimeout(600))],
  ['watch', watch()],
  ['watch-quality', watch((page) => page.locator('.control.quality').click())],
  ['watch-settings', watch((page) => page.getByRole('button', { name: 'Settings' }).click())],
  ['watch-player', watch(async (page) => {
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByRole('menuitem', { name: /^Player/ }).click();
  })],
  ['watch-stats', watch(press('s'))],
  ['watch-behind', watch(async (page) => {
    await page.keyboard.press('j');
    await page.waitForTimeout(1200);
  })],
  ['watch-keys', watch(press('?'))],
  ['watch-paused', watch(press('k'))],
  ['watch-notice', async (page) => {
    await set('demo/notice?text=' + encodeURIComponent('Quality 720p was dropped: this server’s encoder is busy.'));
    await watch()(page);
  }, () => set('demo/notice')],
  ['watch-reconnecting', async (page) => {
    await watch()(page);
    await set('demo/reconnecting');
    await page.waitForTimeout(400);
    await page.mouse.move(220, 160);
    await page.waitForTimeout(200);
  }, () => set('demo/live')],
  ['state-loading', async (page) => {
    await page.route('**/live/demo/**', () => {});
    await state('demo')(page);
  }],
  ['state-offline', state('studio-b')],
  ['state-starting', state('workshop')],
  ['state-reconnecting', state('radio')],
  ['state-ended', state('town-hall')],
  ['state-missing', state('nobody')],
  ['state-failed', async (page) => {
    await set('studio-b/failed');
    await state('studio-b')(page);
  }, () => set('studio-b/offline')],
  ['state-error', async (page) => {
    await page.route('**/live/night-market/*.m3u8', (route) => route.fulfill({ status: 503, headers: { 'x-request-id': '7f3k9q2m1x' }, body: '' }));
    await page.goto(`${base}/watch/night-market`);
    await page.getByText('Try again', { exact: true }).waitFor({ timeout: 40_000 });
  }],
  ...['expired', 'early', 'elsewhere', 'changed'].map((token) => [`link-${token}`, async (page) => {
    await page.goto(`${base}/t/${token}/watch/demo`);
    await page.waitForTimeout(900);
  }]),
  ['link-playing', async (page) => {
    await page.goto(`${base}/t/any/watch/demo`);
    await playing(page);
  }],
  ['not-found', (page) => page.goto(`${base}/nowhere`).then(() => page.waitForTimeout(300))],
  ['embed', async (page) => {
    await page.goto(`${base}/embed/demo`);
    await playing(page);
  }],
  ...manageShots({ base, set }),
  ['directory-empty', async (page) => {
    for (const name of ['demo', 'night-market', 'workshop', 'radio', 'studio-b', 'town-hall']) await set(`${name}/remove`);
    await page.goto(`${base}/`);
    await page.waitForTimeout(500);
  }],
];

const context = await openBrowser({ viewport: null });
let serious = 0;
try {
  for (const [name, act, undo, whole] of shots) {
    if (!name.includes(only)) continue;
    for (const scheme of ['dark', 'light']) {
      for (const [width, height] of [[390, 844], [768, 1024], [1440, 900]]) {
        const page = await context.newPage();
        page.on('pageerror', (error) => console.log(`${name}: page error: ${error.message}`));
        await page.setViewportSize({ width, height });
        await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
        await act(page);
        await page.screenshot({ path: join(folder, `${name}-${width}-${scheme}.png`), fullPage: whole !== undefined });
        if (width !== 768) {
          await page.evaluate(axe);
          const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
          for (const item of violations) {
            if (item.impact === 'serious' || item.impact === 'critical') serious += 1;
            console.log(`${name} ${width} ${scheme}: ${item.impact} ${item.id}: ${item.nodes.map((node) => node.target.join(' ')).slice(0, 3).join(' | ')}`);
          }
        }
        await undo?.();
        await page.close();
      }
    }
  }
} finally {
  await context.close();
  mock.kill('SIGTERM');
}
console.log(`axe: ${serious} serious`);
process.exit(serious > 0 ? 1 : 0);
