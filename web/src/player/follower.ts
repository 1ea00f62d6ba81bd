import type { Engine } from './engine';

/** Beyond this many seconds behind, playing faster takes too long: jump. */
const JUMP_S = 5;
/** Catch-up begins at the first and stops at the second distance, in seconds. */
const BEGIN_S = 0.18;
const STOP_S = 0.06;
/** Media that must be buffered ahead before playing faster, in seconds. */
const RESERVE_S = 0.35;
/** Each stall moves live further back by this much, up to the bound; calm play gives it back slowly. */
const CUSHION_STEP_S = 0.25;
const CUSHION_MAX_S = 1.5;
const CUSHION_DECAY_S_PER_S = 0.01;
/** A wait this soon after a seek or a quality change is no stall. */
const SETTLE_MS = 1500;

/**
 * Keeps a viewer who watches live at the distance the playlist names: slightly faster when behind, a jump when far, a
 * little further back after each stall. Whoever seeks back or pauses stops following until they go live again.
 */
export class Follower {
  following = true;
  #hurrying = false;
  #cushionS = 0;
  #settledAt = 0;
  #tickedAt = 0;

  /** A seek, a quality change or a start: what it interrupts does not count as a stall. */
  disturbed(): void {
    this.#settledAt = performance.now() + SETTLE_MS;
  }

  /** False when it did not count. */
  stalled(): boolean {
    if (!this.following || performance.now() < this.#settledAt) return false;
    this.#cushionS = Math.min(CUSHION_MAX_S, this.#cushionS + CUSHION_STEP_S);
    this.disturbed();
    return true;
  }

  /** Where live playback belongs, in the element's seconds. */
  livePosition(engine: Engine): number | null {
    const position = engine.livePosition();
    return position === null ? null : position - this.#cushionS;
  }

  /** The playback rate to use now; `chosen` is the viewer's own speed. Jumps by itself. */
  rate(video: HTMLVideoElement, engine: Engine, chosen: number): number {
    const now = performance.now();
    const passed = Math.min(1, (now - this.#tickedAt) / 1000);
    this.#tickedAt = now;
    this.#cushionS = Math.max(0, this.#cushionS - passed * CUSHION_DECAY_S_PER_S);
    const distance = engine.excess();
    if (!this.following || distance === null || chosen !== 1 || video.paused || video.readyState < 3) return chosen;
    const excess = distance - this.#cushionS;
    if (excess > JUMP_S) {
      const position = this.livePosition(engine);
      this.disturbed();
      if (position !== null) video.currentTime = position;
      return 1;
    }
    this.#hurrying = excess > (this.#hurrying ? STOP_S : BEGIN_S) && bufferAhead(video) > RESERVE_S;
    if (!this.#hurrying) return 1;
    return excess > 1 ? 1.25 : excess > 0.4 ? 1.1 : 1.05;
  }
}

/** Seconds of media after the playhead without a hole. */
export function bufferAhead(video: HTMLVideoElement): number {
  const { buffered, currentTime } = video;
  for (let index = 0; index < buffered.length; index += 1) {
    if (buffered.start(index) <= currentTime + 0.1 && buffered.end(index) > currentTime) return buffered.end(index) - currentTime;
  }
  return 0;
}
