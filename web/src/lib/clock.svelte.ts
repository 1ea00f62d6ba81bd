/** Milliseconds to add to `Date.now()` for the server's UTC; best of a few round trips, 0 until known. */
let offsetMs = 0;
let synced: Promise<void> | undefined;

async function measure(): Promise<{ offset: number; rtt: number }> {
  const sent = performance.timeOrigin + performance.now();
  const response = await fetch('/api/v1/time', { cache: 'no-store' });
  const received = performance.timeOrigin + performance.now();
  const body = (await response.text()).trim().replace(/^"|"$/g, '');
  const server = Date.parse(body);
  // A clock told in whole seconds is half a second late on average.
  const coarse = /\.\d/.test(body) ? 0 : 500;
  return { offset: server + coarse - (sent + received) / 2, rtt: received - sent };
}

/** Asks the server for its time, a few times, once a page. Failures leave the local clock. */
export function syncClock(): Promise<void> {
  synced ??= (async () => {
    let best = { offset: 0, rtt: Infinity };
    for (let round = 0; round < 4; round += 1) {
      const sample = await measure().catch(() => undefined);
      if (sample && Number.isFinite(sample.offset) && sample.rtt < best.rtt) best = sample;
    }
    if (best.rtt < Infinity) offsetMs = best.offset;
  })();
  return synced;
}

/** The server's UTC in milliseconds. */
export const serverNow = (): number => performance.timeOrigin + performance.now() + offsetMs;

/** A second hand shared by every elapsed-time label; ticks only while something is mounted that reads it. */
class SecondHand {
  now = $state(Date.now());
  #users = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Use inside `$effect`; returns its own undo. */
  use = (): (() => void) => {
    if (this.#users++ === 0) {
      this.now = serverNow();
      this.#timer = setInterval(() => (this.now = serverNow()), 1000);
    }
    return () => {
      if (--this.#users === 0) clearInterval(this.#timer);
    };
  };
}
export const secondHand = new SecondHand();
