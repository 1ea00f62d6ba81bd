// Headless Chromium as the tests and the pictures use it.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = '--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required';

/** A browser with a profile of its own, thrown away. */
export function openBrowser(options = {}) {
  const profile = mkdtempSync(join(tmpdir(), 'tidewire-chromium-'));
  return chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: false,
    args: FLAGS.split(' '),
    ...options,
  });
}
