import Hls, { type ErrorData, Events, type FragBufferedData, type HlsConfig, type Level, type LevelUpdatedData, type LoaderCallbacks, type LoaderConfiguration, type LoaderContext } from 'hls.js';
import { recall, remember } from '../lib/store';
import { type Engine, type EngineEvents, type Fault, firstEstimate, renditionOf, type Source } from './engine';

/** The multivariant playlist that index.html's start script is already fetching. */
interface Start {
  url: string;
  text: Promise<string>;
}

function takeStart(url: string): Start | undefined {
  const holder = self as { tidewireStart?: Start };
  const start = holder.tidewireStart;
  if (!start || start.url !== url) return undefined;
  delete holder.tidewireStart;
  return start;
}

const DefaultLoader = Hls.DefaultConfig.loader;

/** hls.js's own loader, but the first playlist comes from the request made while the code was still loading. */
class PlaylistLoader extends DefaultLoader {
  #dropped = false;

  override load(context: LoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<LoaderContext>): void {
    const start = takeStart(new URL(context.url, location.href).href);
    if (!start) {
      super.load(context, config, callbacks);
      return;
    }
    const begun = performance.now();
    start.text.then(
      (data) => {
        if (this.#dropped) return;
        this.context ??= context;
        const { stats } = this;
        stats.loading.start = stats.loading.first = begun;
        stats.loading.end = performance.now();
        stats.loaded = stats.total = data.length;
        callbacks.onSuccess({ url: start.url, data, code: 200 }, stats, context, null);
      },
      () => this.#dropped || super.load(context, config, callbacks),
    );
  }

  override abort(): void {
    this.#dropped = true;
    super.abort();
  }

  override destroy(): void {
    this.#dropped = true;
    super.destroy();
  }
}

const config = (estimate: number): Partial<HlsConfig> => ({
  lowLatencyMode: true,
  // fMP4 needs no transmuxing: a worker would only add a hop to every part.
  enableWorker: false,
  pLoader: PlaylistLoader as unknown as NonNullable<HlsConfig['pLoader']>,
  startFragPrefetch: true,
  abrEwmaDefaultEstimate: estimate,
  abrEwmaDefaultEstimateMax: 50_000_000,
  testBandwidth: false,
  capLevelToPlayerSize: true,
  liveDurationInfinity: true,
  // The distance to live comes from PART-HOLD-BACK; the player itself catches up (see Follower).
  maxLiveSyncPlaybackRate: 1,
  liveSyncOnStallIncrease: 0,
  maxBufferLength: 12,
  maxMaxBufferLength: 30,
  backBufferLength: 60,
  enableInterstitialPlayback: false,
  enableCEA708Captions: false,
});

function faultOf(data: ErrorData): Fault {
  const network = data.type === Hls.ErrorTypes.NETWORK_ERROR;
  const request = data.networkDetails as unknown;
  return {
    kind: network ? 'network' : data.details.includes('Codec') ? 'unsupported' : 'media',
    detail: data.details,
    status: data.response?.code ?? null,
    requestId: request instanceof XMLHttpRequest && request.readyState >= 2 ? request.getResponseHeader('x-request-id') : null,
  };
}

/**
 * Shows a rung at once. hls.js's own switch appends the new rung while the old frames are still being removed and leaves
 * the decoder waiting for the next keyframe (up to a whole segment). Here: remove first, load from the playhead's
 * segment, then seek to where playback already is, so that the decoder starts at the keyframe before it. An encoded rung
 * trails the source by the encoder's delay: when the playhead is too near its edge, playback steps back.
 */
function switchNow(hls: Hls, video: HTMLVideoElement, id: number): () => void {
  const type = hls.audioTracks.some((track) => track.url) ? 'video' : null;
  const flushed = (): void => {
    hls.off(Events.BUFFER_FLUSHED, flushed);
    hls.loadLevel = id;
    hls.startLoad(video.currentTime);
  };
  const updated = (_: unknown, { details, level }: LevelUpdatedData): void => {
    if (level !== id) return;
    hls.off(Events.LEVEL_UPDATED, updated);
    const latest = details.edge - (details.partHoldBack || details.holdBack);
    if (details.live && video.currentTime > latest + 0.1) video.currentTime = Math.max(latest, details.fragmentStart);
  };
  const buffered = (_: unknown, { frag }: FragBufferedData): void => {
    if (frag.type !== 'main' || frag.level !== id || !covers(video)) return;
    stop();
    const { currentTime } = video;
    video.currentTime = currentTime;
  };
  const stop = (): void => {
    hls.off(Events.BUFFER_FLUSHED, flushed);
    hls.off(Events.LEVEL_UPDATED, updated);
    hls.off(Events.FRAG_BUFFERED, buffered);
  };
  hls.stopLoad();
  hls.on(Events.BUFFER_FLUSHED, flushed);
  hls.on(Events.LEVEL_UPDATED, updated);
  hls.on(Events.FRAG_BUFFERED, buffered);
  hls.trigger(Events.BUFFER_FLUSHING, { startOffset: 0, endOffset: Number.POSITIVE_INFINITY, type });
  return stop;
}

function covers(video: HTMLVideoElement): boolean {
  const { buffered, currentTime } = video;
  for (let index = 0; index < buffered.length; index += 1) {
    if (buffered.start(index) <= currentTime && buffered.end(index) > currentTime) return true;
  }
  return false;
}

/** The best rung for the line's last known speed and the player's size; hls.js by itself begins too low. */
function startLevel(levels: Level[], video: HTMLVideoElement, estimate: number): number {
  const width = video.clientWidth * devicePixelRatio;
  let best = 0;
  for (const [id, level] of levels.entries()) {
    const enough = id > 0 && (levels[id - 1]?.width ?? 0) >= width;
    if (level.maxBitrate * 1.4 <= estimate && !enough) best = id;
  }
  return best;
}

/** LL-HLS through hls.js. */
export function createHls(video: HTMLVideoElement, source: Source, events: EngineEvents): Engine {
  const hls = new Hls(config(firstEstimate(recall('bandwidth'))));
  let repairs = 0;
  let cancelSwitch: (() => void) | undefined;

  hls.on(Events.MANIFEST_PARSED, (_, { levels }) => {
    events.rungs(levels.map((level, id) => ({ id, name: renditionOf(level.url[0] ?? ''), width: level.width, height: level.height, bitrate: level.bitrate })));
    const wanted = levels.findIndex((level) => renditionOf(level.url[0] ?? '') === source.rung);
    if (wanted >= 0) hls.loadLevel = wanted;
    else hls.startLevel = startLevel(levels, video, hls.bandwidthEstimate);
  });
  hls.on(Events.LEVEL_SWITCHED, (_, { level }) => events.current(level));
  const audio = (): void => events.audio(hls.audioTracks.map((track) => track.name), hls.audioTrack);
  hls.on(Events.AUDIO_TRACKS_UPDATED, audio);
  hls.on(Events.AUDIO_TRACK_SWITCHED, audio);
  hls.on(Events.FRAG_LOADED, (_, { frag }) => {
    if (frag.type === 'main') events.chunk();
  });
  hls.on(Events.ERROR, (_, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && repairs < 2) {
      repairs += 1;
      setTimeout(() => (repairs = 0), 10_000);
      hls.recoverMediaError();
      return;
    }
    events.fault(faultOf(data));
  });
  const ended = (): void => events.ended();
  video.addEventListener('ended', ended);

  hls.loadSource(source.hls);
  hls.attachMedia(video);

  return {
    kind: 'hls',
    label: `LL-HLS, hls.js ${Hls.version}`,
    pick(id) {
      cancelSwitch?.();
      cancelSwitch = undefined;
      if (id < 0) hls.loadLevel = -1;
      else cancelSwitch = switchNow(hls, video, id);
    },
    pickAudio: (index) => void (hls.audioTrack = index),
    livePosition: () => hls.liveSyncPosition,
    playingAt: () => hls.playingDate?.getTime() ?? null,
    excess: () => (hls.targetLatency === null || !hls.latestLevelDetails?.live ? null : hls.latency - hls.targetLatency),
    throughput: () => (Number.isFinite(hls.bandwidthEstimate) ? hls.bandwidthEstimate : null),
    destroy() {
      if (hls.bandwidthEstimate > 0) remember('bandwidth', String(Math.round(hls.bandwidthEstimate)));
      video.removeEventListener('ended', ended);
      hls.destroy();
    },
  };
}
