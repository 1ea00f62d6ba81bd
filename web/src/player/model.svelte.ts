import type { Channel } from '../lib/api';
import { serverNow, syncClock } from '../lib/clock.svelte';
import { recall, remember } from '../lib/store';
import { tokenPrefix } from '../lib/token';
import type { Engine, EngineEvents, EngineFactory, EngineKind, Fault, Rung } from './engine';
import { bufferAhead, Follower } from './follower';
import { createHls } from './hls';
import { createNative } from './native';

export interface Figures {
  latencyS: number | null;
  bufferS: number;
  throughput: number | null;
  dropped: number;
  frames: number;
  chunksPerS: number;
  width: number;
  height: number;
  rate: number;
}

export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];
/** Seconds behind live that still count as live. */
const LIVE_SLACK_S = 2.5;
const TICK_MS = 250;
/** Without progress for this long while it should play: go to live, and after the second, start over. */
const NUDGE_MS = 4000;
const RELOAD_MS = 9000;
const RETRIES_BEFORE_ERROR = 3;

/** Ids of rungs that the loaded manifest does not have start here. */
const LATER_ID = 1000;

const hasMse = 'MediaSource' in self || 'ManagedMediaSource' in self;

const factories: Record<EngineKind, () => EngineFactory | Promise<EngineFactory>> = {
  hls: () => createHls,
  native: () => createNative,
  dashjs: async () => (await import('./dashjs')).createDashjs,
  shaka: async () => (await import('./shaka')).createShaka,
};

const isPlayable = ({ state }: Channel): boolean => state === 'live' || state === 'reconnecting';

/** One viewer's player: the element, the engine behind it, and what the controls show. */
export class PlayerModel {
  kind = $state<EngineKind>(hasMse ? 'hls' : 'native');
  rungs = $state.raw<Rung[]>([]);
  /** Picked by hand; -1 = automatic. */
  picked = $state(-1);
  shown = $state(-1);
  audioNames = $state.raw<string[]>([]);
  audioIndex = $state(0);
  /** A frame of the present source has been on screen. */
  hasPicture = $state(false);
  waiting = $state(false);
  paused = $state(true);
  muted = $state(false);
  /** Autoplay was only allowed without sound. */
  mutedByBrowser = $state(false);
  /** The browser wants a click before it plays at all. */
  blocked = $state(false);
  speed = $state(1);
  /** Seconds behind live; 0 while following. */
  behindS = $state(0);
  fault = $state.raw<Fault | null>(null);
  rejoining = $state(false);
  over = $state(false);
  label = $state('');
  startupS = $state<number | null>(null);
  switchS = $state<number | null>(null);
  figures = $state.raw<Figures | null>(null);
  /** Figures are only gathered while somebody looks. */
  watchFigures = false;

  #video: HTMLVideoElement | undefined;
  #engine: Engine | undefined;
  #follower = new Follower();
  #generation = 0;
  #retries = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #loaded: { hls: string; dash: string } | undefined;
  #stream: string | null = null;
  #channel: Channel | undefined;
  #wantedRung: string | null = null;
  #chunks: number[] = [];
  #progress = { position: -1, at: 0 };
  #undo: (() => void)[] = [];

  readonly supported = hasMse || document.createElement('video').canPlayType('application/vnd.apple.mpegurl') !== '';

  /** Binds the element and starts at once; whether the channel is live is found out beside it. */
  attach(video: HTMLVideoElement, name: string): () => void {
    this.#video = video;
    const base = `${tokenPrefix()}/live/${encodeURIComponent(name)}`;
    this.#loaded = { hls: `${base}/master.m3u8`, dash: `${base}/manifest.mpd` };
    video.volume = Number(recall('volume') ?? 1);
    video.muted = recall('muted') === 'yes';
    this.muted = video.muted;
    const on = (names: string, handler: () => void): void => {
      for (const event of names.split(' ')) {
        video.addEventListener(event, handler);
        this.#undo.push(() => video.removeEventListener(event, handler));
      }
    };
    on('play pause', () => (this.paused = video.paused));
    on('playing', () => ((this.waiting = false), (this.blocked = false)));
    on('seeking', () => this.#follower.disturbed());
    on('waiting', () => {
      this.waiting = true;
      if (!this.hasPicture || !this.#follower.stalled()) return;
      // A lighter rung may exist by now that this manifest does not name.
      if (this.later.length > 0 && this.picked < 0) void this.#load();
    });
    on('volumechange', () => {
      this.muted = video.muted || video.volume === 0;
      if (!this.muted) this.mutedByBrowser = false;
      if (this.mutedByBrowser) return;
      remember('muted', video.muted ? 'yes' : null);
      remember('volume', String(video.volume));
    });
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    void this.#load();
    return () => this.#detach();
  }

  /** The server's word on the channel: a new stream, or one that came back, is loaded by itself. */
  follow(channel: Channel | undefined): void {
    const before = this.#channel;
    this.#channel = channel;
    if (!channel) return;
    this.#loaded = { hls: channel.hls, dash: channel.dash };
    this.#noticeRungs(channel);
    if (!isPlayable(channel)) {
      if (channel.state === 'offline' && before?.state !== 'offline') this.#unload();
      return;
    }
    if (this.#stream === null && this.hasPicture) this.#stream = channel.stream_id;
    const changed = this.#stream !== null && channel.stream_id !== null && channel.stream_id !== this.#stream;
    const idle = !this.#engine && (this.#retryTimer === undefined || !before || !isPlayable(before));
    if (this.#stream === null) this.#stream = channel.stream_id;
    if (changed || idle || this.over) {
      this.#stream = channel.stream_id;
      this.#retries = 0;
      void this.#load();
    }
  }

  /** Rungs that the server has and the manifest did not yet name when it was loaded (a broadcast that just began). */
  later = $state.raw<Rung[]>([]);

  #noticeRungs(channel: Channel): void {
    const video = channel.renditions.filter((item) => item.kind === 'video');
    if (video.length === 0 || this.rungs.length === 0) return;
    const has = (name: string): boolean => video.some((item) => item.name === name);
    const fresh = video.filter((item) => !this.rungs.some((rung) => rung.name === item.name));
    this.later = fresh.map((item, index) => ({ id: LATER_ID + index, name: item.name, width: item.width ?? 0, height: item.height ?? 0, bitrate: item.bitrate ?? 0 }));
    if (this.rungs.some((rung) => !has(rung.name))) {
      if (this.picked >= 0 && !has(this.#wantedRung ?? '')) this.pick(-1);
      this.rungs = this.rungs.filter((rung) => has(rung.name));
    }
  }

  togglePlay(): void {
    const video = this.#video;
    if (!video) return;
    if (video.paused) void this.#play();
    else {
      this.#follower.following = false;
      video.pause();
    }
  }

  goLive(): void {
    const position = this.#engine && this.#follower.livePosition(this.#engine);
    if (!this.#video || position == null) return;
    this.#follower.following = true;
    this.#video.currentTime = position;
    this.behindS = 0;
    void this.#play();
  }

  /** Relative seek in seconds; forward past live means live. */
  seekBy(delta: number): void {
    if (this.#video) this.seekTo(this.#video.currentTime + delta);
  }

  seekTo(position: number): void {
    const video = this.#video;
    if (!video || video.seekable.length === 0) return;
    const live = this.#engine?.livePosition() ?? video.seekable.end(0);
    if (position >= live - 0.5) {
      this.goLive();
      return;
    }
    this.#follower.following = false;
    video.currentTime = Math.max(position, video.seekable.start(0) + 0.5);
  }

  /** 0 to 1 within what can be sought. */
  seekShare(share: number): void {
    const seekable = this.#video?.seekable;
    if (!seekable?.length) return;
    this.seekTo(seekable.start(0) + share * (seekable.end(0) - seekable.start(0)));
  }

  /** The viewer moved the scrubber: it decides whether they still follow live. */
  soughtByHand(position: number): void {
    const live = this.#engine?.livePosition();
    if (live != null) this.#follower.following = position >= live - LIVE_SLACK_S;
  }

  pick(id: number): void {
    if (id === this.picked) return;
    const later = this.later.find((rung) => rung.id === id);
    if (later) {
      this.#wantedRung = later.name;
      void this.#load();
      return;
    }
    this.picked = id;
    this.#wantedRung = this.rungs.find((rung) => rung.id === id)?.name ?? null;
    this.switchS = null;
    const target = this.rungs.find((rung) => rung.id === id);
    if (target && this.#video) this.#timeSwitch(this.#video, target);
    this.#follower.disturbed();
    this.#engine?.pick(id);
  }

  pickAudio(index: number): void {
    this.#engine?.pickAudio(index);
    this.audioIndex = index;
  }

  pickSpeed(speed: number): void {
    this.speed = speed;
    if (this.#video) this.#video.playbackRate = speed;
  }

  pickKind(kind: EngineKind): void {
    if (kind === this.kind) return;
    this.kind = kind;
    this.picked = -1;
    this.#wantedRung = null;
    void this.#load();
  }

  toggleMute(): void {
    const video = this.#video;
    if (!video) return;
    this.mutedByBrowser = false;
    video.muted = !video.muted;
    if (!video.muted && video.volume === 0) video.volume = 0.5;
  }

  changeVolume(delta: number): void {
    const video = this.#video;
    if (!video) return;
    video.volume = Math.min(1, Math.max(0, video.volume + delta));
    video.muted = video.volume === 0;
  }

  retry(): void {
    this.#retries = 0;
    this.fault = null;
    void this.#load();
  }

  async #load(): Promise<void> {
    const video = this.#video;
    const source = this.#loaded;
    if (!video || !source || !this.supported) return;
    this.#unload();
    const generation = this.#generation;
    this.fault = null;
    this.#follower.following = true;
    this.#follower.disturbed();
    const events = this.#events(generation);
    try {
      const factory = await factories[this.kind]();
      if (generation !== this.#generation) return;
      const engine = await factory(video, { ...source, rung: this.#wantedRung }, events);
      if (generation !== this.#generation) return engine.destroy();
      this.#engine = engine;
      this.label = engine.label;
    } catch (error) {
      if (generation === this.#generation) this.fault = { kind: 'engine', detail: String(error), status: null, requestId: null };
      return;
    }
    this.#awaitFirstFrame(video, generation);
    // dash.js refreshes its manifest from the first `play` event that it sees itself: it has to start on its own.
    if (this.kind !== 'dashjs') void this.#play();
  }

  #events(generation: number): EngineEvents {
    const mine = <A extends unknown[]>(handler: (...values: A) => void) => (...values: A): void => {
      if (generation === this.#generation) handler(...values);
    };
    return {
      rungs: mine((list) => {
        this.rungs = [...list].sort((a, b) => b.height - a.height || b.bitrate - a.bitrate);
        this.later = [];
        if (this.#channel) this.#noticeRungs(this.#channel);
        this.picked = list.find((rung) => rung.name === this.#wantedRung)?.id ?? -1;
      }),
      current: mine((id) => (this.shown = id)),
      audio: mine((names, selected) => ((this.audioNames = names), (this.audioIndex = Math.max(0, selected)))),
      chunk: mine(() => void this.#chunks.push(performance.now())),
      ended: mine(() => (this.over = true)),
      fault: mine((fault) => this.#failed(fault)),
    };
  }

  /** While the server says the channel is live, a failed engine is replaced, ever more slowly; otherwise it waits for news. */
  #failed(fault: Fault): void {
    this.#unload();
    const state = this.#channel?.state;
    const expected = state === undefined || state === 'live' || state === 'reconnecting' || state === 'starting';
    if (!expected) return;
    this.#retries += 1;
    if (fault.kind === 'unsupported' || (this.#retries > RETRIES_BEFORE_ERROR && state !== undefined)) this.fault = fault;
    if (fault.kind === 'unsupported') return;
    this.rejoining = true;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      const shown = this.fault;
      void this.#load();
      this.fault = shown;
      this.rejoining = true;
    }, Math.min(5000, 250 * 2 ** this.#retries));
  }

  #unload(): void {
    this.#generation += 1;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#engine?.destroy();
    this.#engine = undefined;
    this.hasPicture = false;
    this.waiting = false;
    this.over = false;
    this.rejoining = false;
    this.shown = -1;
    this.behindS = 0;
    this.#chunks = [];
    this.#progress = { position: -1, at: performance.now() };
  }

  #detach(): void {
    clearInterval(this.#ticker);
    this.#undo.forEach((undo) => undo());
    this.#unload();
    this.#video = undefined;
  }

  async #play(): Promise<void> {
    const video = this.#video;
    if (!video) return;
    try {
      await video.play();
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
      if (video.muted) {
        this.blocked = true;
        return;
      }
      this.mutedByBrowser = true;
      video.muted = true;
      await video.play().catch(() => (this.blocked = true));
    }
  }

  #awaitFirstFrame(video: HTMLVideoElement, generation: number): void {
    const begun = this.startupS === null ? 0 : performance.now();
    const shown = (): void => {
      if (generation !== this.#generation) return;
      this.hasPicture = true;
      this.rejoining = false;
      this.fault = null;
      this.#retries = 0;
      this.#stream ??= this.#channel?.stream_id ?? null;
      this.startupS = (performance.now() - begun) / 1000;
      performance.mark('tidewire:first-frame');
      void syncClock();
    };
    if ('requestVideoFrameCallback' in video) video.requestVideoFrameCallback(shown);
    else (video as HTMLVideoElement).addEventListener('playing', shown, { once: true });
  }

  /** From the pick to the first frame on screen that has the picked size. */
  #timeSwitch(video: HTMLVideoElement, target: Rung): void {
    if (!('requestVideoFrameCallback' in video) || video.videoHeight === target.height) return;
    const begun = performance.now();
    const look = (now: number, frame: VideoFrameCallbackMetadata): void => {
      if (frame.height === target.height) {
        this.switchS = (now - begun) / 1000;
        this.shown = target.id;
      } else if (this.picked === target.id && now - begun < 10_000) video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  }

  #tick(): void {
    const video = this.#video;
    const engine = this.#engine;
    if (!video || !engine || !this.hasPicture) return;
    if (engine.excess() !== null) {
      const rate = this.#follower.rate(video, engine, this.speed);
      if (video.playbackRate !== rate) video.playbackRate = rate;
    }
    const live = this.#follower.livePosition(engine);
    if (live !== null) this.behindS = this.#follower.following && !video.paused ? 0 : Math.max(0, live - video.currentTime);
    this.#watchProgress(video);
    if (this.watchFigures) this.#gather(video, engine);
  }

  #watchProgress(video: HTMLVideoElement): void {
    const now = performance.now();
    if (video.paused || video.currentTime !== this.#progress.position || this.#channel?.state !== 'live') {
      this.#progress = { position: video.currentTime, at: now };
      return;
    }
    const stuck = now - this.#progress.at;
    if (stuck > RELOAD_MS) void this.#load();
    else if (stuck > NUDGE_MS && stuck - TICK_MS <= NUDGE_MS) this.goLive();
  }

  #gather(video: HTMLVideoElement, engine: Engine): void {
    const now = performance.now();
    this.#chunks = this.#chunks.filter((at) => now - at < 5000);
    const quality = video.getVideoPlaybackQuality?.();
    const playingAt = engine.playingAt();
    this.figures = {
      latencyS: playingAt === null ? null : (serverNow() - playingAt) / 1000,
      bufferS: bufferAhead(video),
      throughput: engine.throughput(),
      dropped: quality?.droppedVideoFrames ?? 0,
      frames: quality?.totalVideoFrames ?? 0,
      chunksPerS: this.#chunks.length / 5,
      width: video.videoWidth,
      height: video.videoHeight,
      rate: video.playbackRate,
    };
  }
}
