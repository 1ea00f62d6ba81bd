/** The part of Shaka Player's API that is used here; its DASH-only build ships without types. */
export interface ShakaTrack {
  id: number;
  active: boolean;
  bandwidth: number;
  videoBandwidth: number | null;
  width: number | null;
  height: number | null;
  originalVideoId: string | null;
}

export interface ShakaPlayer extends EventTarget {
  attach(video: HTMLMediaElement): Promise<void>;
  load(url: string): Promise<void>;
  configure(config: object): boolean;
  getVariantTracks(): ShakaTrack[];
  selectVariantTrack(track: ShakaTrack, clearBuffer?: boolean, safeMargin?: number): void;
  seekRange(): { start: number; end: number };
  getPlayheadTimeAsDate(): Date | null;
  getStats(): { estimatedBandwidth: number };
  destroy(): Promise<void>;
}

declare module 'shaka-player/dist/shaka-player.dash-es2021.js' {
  const shaka: {
    Player: { new (): ShakaPlayer; version: string };
    polyfill: { installAll(): void };
  };
  export default shaka;
}
