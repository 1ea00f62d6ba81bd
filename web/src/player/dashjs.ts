import * as dashjs from 'dashjs';
import { type Engine, type EngineEvents, firstEstimate, type Source } from './engine';
import { recall } from '../lib/store';

/** LL-DASH through dash.js; loaded only when picked in the menu. */
export function createDashjs(video: HTMLVideoElement, source: Source, events: EngineEvents): Engine {
  const player = dashjs.MediaPlayer().create();
  player.updateSettings({
    streaming: {
      abr: { initialBitrate: { video: firstEstimate(recall('bandwidth')) / 1000 } },
      liveCatchup: { enabled: true },
      buffer: { bufferToKeep: 60, fastSwitchEnabled: true },
    },
  });
  const { events: names } = dashjs.MediaPlayer;
  const representations = (): dashjs.Representation[] => player.getRepresentationsByType('video');
  const announce = (): void => {
    events.rungs(representations().map((item) => ({ id: item.index, name: item.id, width: item.width, height: item.height, bitrate: item.bandwidth })));
  };
  player.on(names.STREAM_INITIALIZED, () => {
    announce();
    const wanted = representations().find((item) => item.id === source.rung);
    if (wanted) pick(wanted.index);
    const tracks = player.getTracksFor('audio');
    const current = player.getCurrentTrackFor('audio');
    events.audio(tracks.map((track) => track.lang ?? String(track.id ?? '')), current ? tracks.indexOf(current) : 0);
  });
  player.on(names.QUALITY_CHANGE_RENDERED, (event: { mediaType?: string; newRepresentation?: dashjs.Representation }) => {
    if (event.mediaType === 'video' && event.newRepresentation) events.current(event.newRepresentation.index);
  });
  player.on(names.FRAGMENT_LOADING_COMPLETED, (event: { mediaType?: string }) => {
    if (event.mediaType === 'video') events.chunk();
  });
  player.on(names.PLAYBACK_ENDED, () => events.ended());
  player.on(names.ERROR, (event: { error?: { code?: number; message?: string } | string }) => {
    const error = typeof event.error === 'string' ? { message: event.error } : event.error;
    const code = (error as { code?: number } | undefined)?.code ?? 0;
    const network = code === 0 || (code >= 10 && code <= 31);
    events.fault({ kind: network ? 'network' : 'media', detail: error?.message ?? '', status: null, requestId: null });
  });

  function pick(id: number): void {
    player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: id < 0 } } } });
    if (id >= 0) player.setRepresentationForTypeByIndex('video', id, true);
  }

  player.initialize(video, new URL(source.dash, location.href).href, true);

  return {
    kind: 'dashjs',
    label: `LL-DASH, dash.js ${player.getVersion()}`,
    pick,
    pickAudio(index) {
      const track = player.getTracksFor('audio')[index];
      if (track) player.setCurrentTrack(track);
    },
    livePosition() {
      const end = video.seekable.length > 0 ? video.seekable.end(video.seekable.length - 1) : null;
      return end === null ? null : end - Math.max(0, player.getTargetLiveDelay() - 0.5);
    },
    playingAt() {
      const latency = player.getCurrentLiveLatency();
      return Number.isFinite(latency) && latency > 0 ? Date.now() - latency * 1000 : null;
    },
    excess: () => null,
    throughput() {
      const kilobits = player.getAverageThroughput('video');
      return Number.isFinite(kilobits) && kilobits > 0 ? kilobits * 1000 : null;
    },
    destroy: () => player.destroy(),
  };
}
