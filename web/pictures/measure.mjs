// Start-up and switching times against a running server: `node pictures/measure.mjs [BASE] [CHANNEL] [ROUNDS]`.
import { openBrowser } from './browser.mjs';

const [base = 'http://127.0.0.1:8099', channel = 'demo', rounds = '5'] = process.argv.slice(2);
const context = await openBrowser({ viewport: { width: 1280, height: 800 } });
const starts = [];
const latencies = [];
const switches = [];
const page = await context.newPage();
page.on('pageerror', (error) => console.log('page error:', error.message));
page.on('console', (message) => message.type() === 'error' && console.log('console:', message.text()));
for (let round = 0; round < Number(rounds); round += 1) {
  await page.goto('about:blank');
  await page.goto(`${base}/watch/${channel}`, { waitUntil: 'commit' });
  await page.waitForFunction(() => performance.getEntriesByName('tidewire:first-frame').length > 0, null, { timeout: 15_000, polling: 50 });
  starts.push(await page.evaluate(() => Math.round(performance.getEntriesByName('tidewire:first-frame')[0].startTime)));
}
await page.keyboard.press('s');
for (let sample = 0; sample < 20; sample += 1) {
  await page.waitForTimeout(500);
  const text = await page.locator('section[aria-label="Stats"] dd').first().textContent();
  latencies.push(Number.parseFloat(text));
}
const stat = (row) => page.locator('section[aria-label="Stats"] dd').nth(row).textContent();
const items = page.locator('.menu-place [role=menuitemradio]');
await page.mouse.move(600, 400);
for (let round = 0; round < 12; round += 1) {
  await page.mouse.move(600, 400 + (round % 2));
  await page.locator('.control.quality').click();
  const total = await items.count();
  await items.nth(1 + (round + 1) % (total - 1)).click();
  await page.waitForFunction(() => !document.querySelectorAll('section[aria-label="Stats"] dd')[8].textContent.includes('–'), null, { timeout: 8000, polling: 50 }).catch(() => {});
  switches.push(`${(await stat(2)).split(' ')[0]} ${await stat(8)}`);
  await page.waitForTimeout(1500 + 370 * round);
}
const rows = await page.locator('section[aria-label="Stats"] dl').innerText();
console.log('first frame, ms after navigation:', starts.join(' '));
console.log('latency, s:', latencies.join(' '));
console.log('switches:', switches.join(', '));
console.log(rows.replace(/\n/g, ' | '));
await context.close();
