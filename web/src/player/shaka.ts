import shaka from 'shaka-player/dist/shaka-player.dash-es2021.js';
import { recall } from '../lib/store';
import { type Engine, type EngineEvents, firstEstimate, type Source } from './engine';
import type { ShakaPlayer, ShakaTrack } from './shaka-types';

/** LL-DASH through Shaka Player; loaded only when picked in the menu. */
export async function createShaka(video: HTMLVideoElement, source: Source, events: EngineEvents): Promise<Engine> {
  shaka.polyfill.installAll();
  const player: ShakaPlayer = new shaka.Player();
  player.configure({
    abr: { defaultBandwidthEstimate: firstEstimate(recall('bandwidth')), restrictToElementSize: true },
    streaming: { lowLatencyMode: true, bufferBehind: 60, liveSync: { enabled: true } },
  });
  /** One entry a height, whatever audio it is paired with. */
  const rungs = (): ShakaTrack[] => {
    const seen = new Map<string, ShakaTrack>();
    for (const track of player.getVariantTracks()) {
      const key = track.originalVideoId ?? `${track.height}/${track.videoBandwidth}`;
      if (!seen.has(key)) seen.set(key, track);
    }
    return [...seen.values()];
  };
  const announce = (): void =>
    events.rungs(rungs().map((track) => ({ id: track.id, name: track.originalVideoId ?? '', width: track.width ?? 0, height: track.height ?? 0, bitrate: track.videoBandwidth ?? track.bandwidth })));
  const current = (): void => {
    const active = player.getVariantTracks().find((track) => track.active);
    const rung = rungs().find((track) => track.originalVideoId === active?.originalVideoId);
    if (rung) events.current(rung.id);
  };
  function pick(id: number): void {
    player.configure({ abr: { enabled: id < 0 } });
    const track = rungs().find((item) => item.id === id);
    if (track) player.selectVariantTrack(track, true);
  }
  player.addEventListener('trackschanged', announce);
  player.addEventListener('adaptation', current);
  player.addEventListener('variantchanged', current);
  player.addEventListener('segmentappended', () => events.chunk());
  player.addEventListener('error', (event) => {
    const { detail } = event as unknown as { detail: { category: number; code: number; severity: number } };
    if (detail.severity === 2) events.fault({ kind: detail.category === 1 ? 'network' : 'media', detail: `Shaka ${detail.code}`, status: null, requestId: null });
  });
  const ended = (): void => events.ended();
  video.addEventListener('ended', ended);

  await player.attach(video);
  player.load(source.dash).then(
    () => {
      announce();
      current();
      const wanted = rungs().find((track) => track.originalVideoId === source.rung);
      if (wanted) pick(wanted.id);
    },
    (error: { category?: number; code?: number }) => {
      const loadInterrupted = error.code === 7000;
      if (!loadInterrupted) events.fault({ kind: error.category === 1 ? 'network' : 'media', detail: `Shaka ${error.code}`, status: null, requestId: null });
    },
  );

  return {
    kind: 'shaka',
    label: `LL-DASH, Shaka ${shaka.Player.version}`,
    pick,
    pickAudio: () => undefined,
    livePosition: () => player.seekRange().end - 1,
    playingAt: () => player.getPlayheadTimeAsDate()?.getTime() ?? null,
    excess: () => null,
    throughput: () => player.getStats().estimatedBandwidth || null,
    destroy() {
      video.removeEventListener('ended', ended);
      void player.destroy();
    },
  };
}
