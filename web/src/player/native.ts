import type { Engine, EngineEvents, Source } from './engine';

/** The browser's own HLS (iOS, where there is no Media Source): no rungs to pick, the rest works. */
export function createNative(video: HTMLVideoElement, source: Source, events: EngineEvents): Engine {
  const onError = (): void =>
    events.fault({ kind: video.error?.code === MediaError.MEDIA_ERR_NETWORK ? 'network' : 'media', detail: video.error?.message ?? '', status: null, requestId: null });
  const onEnded = (): void => events.ended();
  video.addEventListener('error', onError);
  video.addEventListener('ended', onEnded);
  events.rungs([]);
  video.src = source.hls;

  const dated = video as HTMLVideoElement & { getStartDate?: () => Date };
  return {
    kind: 'native',
    label: 'HLS, the browser’s own',
    pick: () => undefined,
    pickAudio: () => undefined,
    livePosition: () => (video.seekable.length > 0 ? video.seekable.end(video.seekable.length - 1) : null),
    playingAt() {
      const start = dated.getStartDate?.().getTime() ?? NaN;
      return Number.isFinite(start) ? start + video.currentTime * 1000 : null;
    },
    excess: () => null,
    throughput: () => null,
    destroy() {
      video.removeEventListener('error', onError);
      video.removeEventListener('ended', onEnded);
      video.removeAttribute('src');
      video.load();
    },
  };
}
