import type { Engine } from './engine';

/** Beyond this many seconds behind, playing faster takes too long: jump. */
const JUMP_S = 5;
/** Catch-up begins at the first and stops at the second distance, in seconds. */
const BEGIN_S = 0.18;
const STOP_S = 0.06;
/** Media that must be buffered ahead before playing faster, in seconds. */
const RESERVE_S = 0.35;

/**
 * Keeps a viewer who watches live at the distance the playlist names: slightly faster when behind, a jump when far.
 * Whoever seeks back or pauses stops following until they go live again.
 */
export class Follower {
  following = true;
  #hurrying = false;

  /** The playback rate to use now; `chosen` is the viewer's own speed. Jumps by itself. */
  rate(video: HTMLVideoElement, engine: Engine, chosen: number): number {
    const excess = engine.excess();
    if (!this.following || excess === null || chosen !== 1 || video.paused || video.readyState < 3) return chosen;
    if (excess > JUMP_S) {
      const position = engine.livePosition();
      if (position !== null) video.currentTime = position;
      return 1;
    }
    const ahead = bufferAhead(video);
    this.#hurrying = excess > (this.#hurrying ? STOP_S : BEGIN_S) && ahead > RESERVE_S;
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
