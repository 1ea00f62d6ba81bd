// The pictures of the management pages: [name, act, undo] as pictures.mjs takes them; `whole` = the whole page's height.
export function manageShots({ base, set }) {
  const enter = async (page, path, token = 'twa_mock') => {
    await page.addInitScript((value) => value && sessionStorage.setItem('tidewire.token', value), token);
    await page.goto(`${base}${path}`);
    await page.waitForTimeout(500);
  };
  const at = (path, after = async () => {}) => async (page) => {
    await enter(page, path);
    await after(page);
  };
  const button = (name, nth = 0) => (page) => page.getByRole('button', { name, exact: true }).nth(nth).click().then(() => page.waitForTimeout(250));
  const filled = async (page) => {
    await page.locator('.plot canvas').nth(2).waitFor({ timeout: 10_000 });
    await page.waitForFunction(() => performance.getEntriesByName('tidewire:first-frame').length > 0, null, { polling: 50, timeout: 15_000 });
    await page.waitForTimeout(1500);
  };
  const live = (after = async () => {}) => at('/studio/demo', async (page) => {
    await filled(page);
    await after(page);
  });
  const ill = (is) => async (page) => {
    await set(`demo/health?is=${is}`);
    await enter(page, '/studio/demo');
    await filled(page);
    if (is === 'silent') await page.waitForTimeout(2500);
  };
  const well = () => set('demo/health?is=good');
  const broken = (pattern) => async (page, path) => {
    await page.route(pattern, (route) => route.fulfill({ status: 503, headers: { 'content-type': 'application/problem+json' }, body: JSON.stringify({ status: 503, code: 'database_busy', detail: 'The database does not answer. Another program may hold it; try again in a moment.', request_id: '7f3k9q2m1x' }) }));
    await enter(page, path);
  };
  return [
    ['manage-signed-out', (page) => enter(page, '/studio', '')],
    ['manage-refused', (page) => enter(page, '/studio', 'twa_expired')],
    ['manage-stream-key', async (page) => {
      await enter(page, '/studio', '');
      await page.getByLabel('Admin token').fill('tw_abcdefgh');
      await page.getByRole('button', { name: 'Sign in' }).click();
    }],
    ['manage-unreachable', async (page) => {
      await page.route('**/api/v1/me', (route) => route.abort());
      await enter(page, '/studio');
    }],
    ['studio-channels', at('/studio')],
    ['studio-channels-new', at('/studio', button('New channel'))],
    ['studio-channels-wrong', at('/studio', async (page) => {
      await button('New channel')(page);
      await page.getByLabel('Name').fill('night market');
      await page.getByRole('button', { name: 'Create channel' }).click();
      await page.waitForTimeout(300);
    })],
    ['studio-channels-error', (page) => broken('**/api/v1/manage/channels?*')(page, '/studio')],
    ['studio-live', live(), undefined, 'whole'],
    ['studio-live-keyframes', ill('keyframes'), well],
    ['studio-live-unsteady', ill('unsteady'), well],
    ['studio-live-silent', ill('silent'), well],
    ['studio-stop', live(button('Stop broadcast'))],
    ['studio-offline', at('/studio/studio-b'), undefined, 'whole'],
    ['studio-starting', at('/studio/workshop', (page) => page.waitForTimeout(600))],
    ['studio-reconnecting', at('/studio/radio', (page) => page.waitForTimeout(1500))],
    ['studio-ended', at('/studio/town-hall')],
    ['studio-failed', async (page) => {
      await set('studio-b/failed');
      await enter(page, '/studio/studio-b');
    }, () => set('studio-b/offline')],
    ['studio-missing', at('/studio/nobody')],
    ['studio-error', (page) => broken('**/api/v1/manage/channels/demo')(page, '/studio/demo')],
    ['studio-rotate', at('/studio/town-hall', button('New key'))],
    ['studio-rotated', at('/studio/town-hall', async (page) => {
      await button('New key')(page);
      await button('Make the new key')(page);
      await button('Show: Stream key')(page);
      await page.getByLabel('Connect your encoder').scrollIntoViewIfNeeded();
    })],
    ['studio-key-add', at('/studio/town-hall', button('Add key'))],
    ['studio-read-only', (page) => enter(page, '/studio/town-hall', 'twa_read'), undefined, 'whole'],
    ['admin-streams', at('/admin')],
    ['admin-streams-over', at('/admin?show=over')],
    ['admin-streams-filter', at('/admin?q=nothing')],
    ['admin-streams-error', (page) => broken('**/api/v1/manage/channels?*')(page, '/admin')],
    ['admin-channels', at('/admin/channels')],
    ['admin-events', at('/admin/events', (page) => page.locator('summary').nth(2).click())],
    ['admin-events-filter', at('/admin/events?type=key.revoked')],
    ['admin-tokens', at('/admin/tokens')],
    ['admin-tokens-new', at('/admin/tokens', button('New token'))],
    ['admin-tokens-made', at('/admin/tokens', async (page) => {
      await button('New token')(page);
      await page.getByRole('textbox', { name: 'Label' }).fill('Scoreboard');
      await button('Make token')(page);
    })],
    ['admin-webhooks', at('/admin/webhooks')],
    ['admin-webhooks-new', at('/admin/webhooks', async (page) => {
      await button('New webhook')(page);
      await page.getByLabel('Only these').check();
    })],
    ['admin-webhook', at('/admin/webhooks', (page) => page.getByRole('link', { name: /ops.example/ }).click().then(() => page.waitForTimeout(400)))],
    ['admin-system', at('/admin/system'), undefined, 'whole'],
    ['admin-empty', async (page) => {
      await set('manage/empty');
      await enter(page, '/admin');
    }, () => set('manage/full')],
    ['studio-channels-empty', async (page) => {
      await set('manage/empty');
      await enter(page, '/studio');
    }, () => set('manage/full')],
  ];
}
