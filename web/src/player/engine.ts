/** What every playback engine gives the player, whatever library is behind it. */
export type EngineKind = 'hls' | 'dashjs' | 'shaka' | 'native';

export interface Rung {
  /** The engine's own index; -1 never occurs here, it means "automatic" in `pick`. */
  id: number;
  /** The rendition's name on the server: "source", "720p". */
  name: string;
  width: number;
  height: number;
  /** Bits per second as the manifest declares them. */
  bitrate: number;
}

export interface Fault {
  kind: 'network' | 'media' | 'unsupported' | 'engine';
  detail: string;
  /** HTTP status when a request failed, else null. */
  status: number | null;
  requestId: string | null;
}

export interface EngineEvents {
  rungs(list: Rung[]): void;
  /** The rung of the frames that are being played. */
  current(id: number): void;
  audio(names: string[], selected: number): void;
  /** Playback cannot go on with this engine instance. */
  fault(fault: Fault): void;
  /** One media chunk has arrived (a part in low-latency mode). */
  chunk(): void;
  /** The broadcast said it is over and everything has been played. */
  ended(): void;
}

export interface Engine {
  readonly kind: EngineKind;
  /** For people: "LL-HLS, hls.js 1.7.4". */
  readonly label: string;
  /** -1 = automatic. A rung picked by hand replaces what is buffered. */
  pick(id: number): void;
  pickAudio(index: number): void;
  /** Where live playback belongs now, in the element's seconds. */
  livePosition(): number | null;
  /** UTC in milliseconds stamped on the frame being shown. */
  playingAt(): number | null;
  /** Seconds behind where live playback belongs; null = the engine keeps its distance itself. */
  excess(): number | null;
  /** Bits per second as the engine estimates them. */
  throughput(): number | null;
  destroy(): void;
}

export type EngineFactory = (video: HTMLVideoElement, source: Source, events: EngineEvents) => Engine | Promise<Engine>;

export interface Source {
  hls: string;
  dash: string;
  /** A rung to start with, by name; null = automatic. */
  rung: string | null;
}

/** `/live/demo/720p/playlist.m3u8` -> `720p`. */
export const renditionOf = (url: string): string => decodeURIComponent(url.split('?')[0]?.split('/').at(-2) ?? '');

/**
 * The bandwidth to start from, bits per second: last measured here, else by the browser's class of network. Its own
 * `downlink` figure is a guess until it has seen traffic, and far too low on a fast local network.
 */
export function firstEstimate(remembered: string | null): number {
  const known = Number(remembered);
  if (known > 0) return Math.min(known, 50_000_000);
  const network = (navigator as { connection?: { effectiveType?: string; saveData?: boolean } }).connection;
  if (network?.saveData) return 1_000_000;
  const classes: Record<string, number> = { 'slow-2g': 200_000, '2g': 400_000, '3g': 1_200_000 };
  return classes[network?.effectiveType ?? ''] ?? 10_000_000;
}
