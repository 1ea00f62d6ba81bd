// Plays a channel in a headless Chromium and measures what a viewer gets. Called by `tidewire_e2e::browser::watch` with
// one JSON argument; prints one JSON object.

import { launch, servePlayers, sleep } from './lib.mjs';

const options = JSON.parse(process.argv[2]);
const errors = [];
const players = await servePlayers();
const browser = await launch(options.chromium);
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.addInitScript({ path: new URL('meter.js', import.meta.url).pathname });
  const query = new URLSearchParams({ base: options.base, channel: options.channel, player: options.player, height: options.height });
  const url = options.player === 'page' ? `${options.base}/watch/${options.channel}` : `${players.base}/player.html?${query}`;
  await page.goto(url, { waitUntil: 'commit' });
  await page.waitForFunction(() => window.meter?.frames > 0, null, { timeout: 30_000 });

  const report = {};
  if (options.switchToHeight) {
    await sleep(options.seconds * 500);
    const from = await page.evaluate(() => window.meter.height);
    report.switch_from = from;
    await page.evaluate((height) => window.meter.expectHeight(height), options.switchToHeight);
    await page.evaluate((height) => window.chooseHeight(height), options.switchToHeight);
    await page.waitForFunction(() => window.meter.switchMs !== null, null, { timeout: 15_000 });
    await sleep(options.seconds * 500);
  } else {
    await sleep(options.seconds * 1000);
  }
  Object.assign(report, await page.evaluate(() => window.meter.report()));
  report.errors = errors.slice(0, 10);
  console.log(JSON.stringify(report));
} catch (error) {
  console.error(`${error}\nerrors of the page: ${errors.slice(0, 10).join('\n')}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  players.close();
}
