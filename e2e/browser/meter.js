// Runs in every page before its own scripts: finds the video, counts frames and stalls, and reads the clock that
// `publish/barcode.rs` draws into the picture (Gray code in the lower eighth, 20 bits of milliseconds).
(() => {
  const BITS = 20;
  const CELLS = BITS + 2;
  const STALL_MS = 250;
  const canvas = new OffscreenCanvas(CELLS * 4, 4);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const latencies = [];
  const heights = {};
  let video = null;
  let expected = null;
  let lastTime = 0;
  let lastMove = 0;
  let stalled = false;

  const meter = {
    frames: 0,
    height: 0,
    firstFrameMs: null,
    stalls: 0,
    stalledMs: 0,
    switchMs: null,
    stalledAt: [],
    /** The next frame of this height ends a switch, which begins now, or with the next click. */
    expectHeight(height, { fromClick = false } = {}) {
      expected = { height, since: performance.now() };
      meter.switchMs = null;
      if (fromClick) addEventListener('click', () => (expected.since = performance.now()), { capture: true, once: true });
    },
    /** What follows is measured by itself. */
    clear() {
      latencies.length = 0;
      for (const height of Object.keys(heights)) delete heights[height];
      Object.assign(meter, { stalls: 0, stalledMs: 0, stalledAt: [] });
    },
    report() {
      const sorted = latencies.map((entry) => entry[1]).sort((a, b) => a - b);
      const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
      const quality = video?.getVideoPlaybackQuality();
      return {
        first_frame_ms: Math.round(meter.firstFrameMs),
        latency_ms: { p50: at(0.5), p95: at(0.95), max: at(1), count: sorted.length },
        frames: meter.frames,
        dropped: quality?.droppedVideoFrames ?? null,
        stalls: meter.stalls,
        stalled_ms: Math.round(meter.stalledMs),
        stalled_at_s: meter.stalledAt,
        switch_ms: meter.switchMs === null ? null : Math.round(meter.switchMs),
        heights,
        rate: video?.playbackRate ?? null,
        player: window.playerState?.() ?? null,
      };
    },
  };
  window.meter = meter;

  function clock() {
    context.drawImage(video, 0, (video.videoHeight * 29) / 32, video.videoWidth, video.videoHeight / 16, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 2, canvas.width, 1);
    const level = (cell) => data[(cell * 4 + 2) * 4];
    const [white, black] = [level(0), level(1)];
    if (white - black < 100) return null;
    let [value, bit] = [0, 0];
    for (let cell = 2; cell < CELLS; cell += 1) {
      bit ^= level(cell) > (white + black) / 2 ? 1 : 0;
      value = value * 2 + bit;
    }
    return value;
  }

  function frame(now, metadata) {
    meter.frames += 1;
    meter.firstFrameMs ??= now;
    meter.height = metadata.height;
    heights[metadata.height] = (heights[metadata.height] ?? 0) + 1;
    if (expected && metadata.height === expected.height && meter.switchMs === null) {
      meter.switchMs = performance.now() - expected.since;
    }
    const value = clock();
    if (value !== null) {
      const period = 2 ** BITS;
      const age = (((Date.now() - value) % period) + period) % period;
      // The first seconds are the way to the live edge; a wrong bit would show as minutes.
      if (age < 60_000 && now - meter.firstFrameMs > 3000) latencies.push([now, age]);
    }
    video.requestVideoFrameCallback(frame);
  }

  function findVideo(root) {
    for (const element of root.querySelectorAll('*')) {
      if (element instanceof HTMLVideoElement) return element;
      const inside = element.shadowRoot && findVideo(element.shadowRoot);
      if (inside) return inside;
    }
    return null;
  }

  setInterval(() => {
    const now = performance.now();
    if (!video || !video.isConnected) {
      video = findVideo(document);
      video?.requestVideoFrameCallback(frame);
      return;
    }
    if (meter.frames === 0 || video.paused) {
      lastMove = now;
      return;
    }
    if (video.currentTime !== lastTime) {
      if (stalled) meter.stalledMs += now - lastMove;
      lastTime = video.currentTime;
      lastMove = now;
      stalled = false;
    } else if (!stalled && now - lastMove > STALL_MS) {
      stalled = true;
      meter.stalls += 1;
      if (meter.stalledAt.length < 20) meter.stalledAt.push(Math.round((lastMove - meter.firstFrameMs) / 100) / 10);
    }
  }, 10);
})();
