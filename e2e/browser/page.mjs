// What a viewer gets from the product's own watch page, over several visits: `tidewire-watch` calls it with one JSON
// argument; it prints one JSON object.

import { launch, sleep } from './lib.mjs';

const options = JSON.parse(process.argv[2]);
const errors = [];
const report = { first_frame_ms: [], first_frame_new_browser_ms: [], visits: [], switch_ms: [], errors };

async function open(browser) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.addInitScript({ path: new URL('meter.js', import.meta.url).pathname });
  await visit(page);
  return page;
}

async function visit(page) {
  await page.goto(`${options.base}/watch/${options.channel}`, { waitUntil: 'commit' });
  await page.waitForFunction(() => window.meter?.frames > 0, null, { timeout: 30_000, polling: 50 });
}

const meter = (page) => page.evaluate(() => window.meter.report());

/** Picks a rung as a person does: the quality button, then the line of the menu. */
async function pick(page, height) {
  await page.mouse.move(600, 300);
  await page.mouse.move(610, 310);
  await page.locator('.control.quality').click();
  const line = page.locator('.menu-place [role=menuitemradio]').filter({ hasText: new RegExp(`^\\s*${height}p`) });
  await line.first().waitFor();
  await page.evaluate((height) => window.meter.expectHeight(height, { fromClick: true }), height);
  await line.first().click();
  await page.waitForFunction(() => window.meter.switchMs !== null, null, { timeout: 15_000, polling: 20 });
}

/** Plays for a while and notes latency and stalls from here on. */
async function measure(page, what) {
  await sleep(options.settleSeconds * 1000);
  await page.evaluate(() => window.meter.clear());
  await sleep(options.seconds * 1000);
  const { latency_ms, stalls, stalled_ms, dropped, frames, heights } = await meter(page);
  report.visits.push({ what, latency_ms, stalls, stalled_ms, dropped, frames, heights });
}

try {
  for (let round = 0; round < options.rounds; round += 1) {
    const browser = await launch(options.chromium);
    const page = await open(browser);
    report.first_frame_new_browser_ms.push((await meter(page)).first_frame_ms);
    for (let again = 0; again < 3; again += 1) {
      await page.goto('about:blank');
      await visit(page);
      report.first_frame_ms.push((await meter(page)).first_frame_ms);
    }
    if (options.source) {
      await measure(page, 'source');
    }
    if (options.encoded) {
      await pick(page, options.encoded);
      await measure(page, 'encoded');
      for (let n = 0; n < options.switches; n += 1) {
        await pick(page, n % 2 === 0 ? options.source : options.encoded);
        report.switch_ms.push((await meter(page)).switch_ms);
        // Switches fall on all places of a segment.
        await sleep(1500 + ((370 * n) % 2000));
      }
    }
    await browser.close();
  }
  report.errors = errors.slice(0, 10);
  console.log(JSON.stringify(report));
} catch (error) {
  console.error(`${error}\nerrors of the page: ${errors.slice(0, 10).join('\n')}`);
  process.exitCode = 1;
}
process.exit();
