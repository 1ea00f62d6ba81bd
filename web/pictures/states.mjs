// A watch page left open while its channel lives through its states, against a mock of its own: `node pictures/states.mjs`.
import { spawn } from 'node:child_process';
import { openBrowser } from './browser.mjs';

const port = 8096;
const base = `http://127.0.0.1:${port}`;
let mock;
const start = async (...extra) => {
  mock = spawn('node', [new URL('../mock/server.mjs', import.meta.url).pathname, '--port', `${port}`, ...extra], { stdio: ['ignore', 'pipe', 'ignore'] });
  await new Promise((done) => mock.stdout.once('data', done));
};
const set = (path) => fetch(`${base}/mock/${path}`, { method: 'POST' });
await start('--idle');
const context = await openBrowser({ viewport: { width: 1280, height: 800 } });
const page = await context.newPage();
page.on('pageerror', (error) => console.log('page error:', error.message));
const cover = () => page.evaluate(() => document.querySelector('.cover .title')?.textContent ?? '(picture)');
const advancing = async (label, limit = 12_000) => {
  const begun = Date.now();
  await page.waitForFunction(() => {
    const video = document.querySelector('video');
    const before = self.lastPosition;
    self.lastPosition = video.currentTime;
    return !document.querySelector('.cover') && !video.paused && before !== undefined && video.currentTime > before && video.currentTime - before < 1;
  }, null, { timeout: limit, polling: 200 });
  console.log(`${label}: plays after ${Date.now() - begun} ms`);
};
const expect = async (label, text) => {
  await page.waitForFunction((wanted) => (document.querySelector('.cover .title')?.textContent ?? '').includes(wanted), text, { timeout: 15_000 }).catch(async () => {
    console.log(`FAIL ${label}: ${await cover()}`);
    process.exitCode = 1;
  });
  console.log(`${label}: "${await cover()}"`);
};
try {
  await page.goto(`${base}/watch/demo`);
  await expect('offline', 'offline');
  void set('demo/live');
  await expect('starting', 'Starting');
  await advancing('went live');
  await page.waitForTimeout(3000);
  await set('demo/live');
  await advancing('new stream');
  await page.waitForTimeout(3000);
  await set('demo/ended');
  await expect('ended', 'ended');
  await set('demo/live');
  await advancing('came back after the end');
  await page.waitForTimeout(2000);
  await set('demo/offline');
  await expect('offline again', 'offline');
  await set('demo/live');
  await advancing('live again');
  await page.waitForTimeout(2000);
  mock.kill('SIGTERM');
  await page.waitForTimeout(4000);
  console.log('server gone:', await cover(), '/', await page.locator('.notice').allTextContents());
  await start();
  await advancing('server back', 25_000);
} finally {
  await context.close();
  mock.kill('SIGTERM');
}
