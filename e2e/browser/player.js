// One of four players, by the query: hls, dash, shaka-hls, shaka-dash. `window.chooseHeight` is the quality menu.

const query = new URLSearchParams(location.search);
const { base, channel, player } = Object.fromEntries(query);
const height = Number(query.get('height') ?? 0);
const video = document.querySelector('video');
const hlsUrl = `${base}/live/${channel}/master.m3u8`;
const dashUrl = `${base}/live/${channel}/manifest.mpd`;

const script = (src) =>
  new Promise((done, failed) => {
    const element = document.createElement('script');
    Object.assign(element, { src, onload: done, onerror: failed });
    document.head.append(element);
  });

async function hls() {
  await script('/hls.js');
  const hls = new window.Hls({ lowLatencyMode: true, backBufferLength: 10, maxLiveSyncPlaybackRate: 1.5 });
  const level = (height) => hls.levels.findIndex((level) => level.height === height);
  hls.on(window.Hls.Events.ERROR, (_, data) => {
    if (data.fatal) console.error(`hls.js: ${data.type} ${data.details}`);
  });
  hls.on(window.Hls.Events.MANIFEST_PARSED, () => {
    if (height) hls.startLevel = hls.loadLevel = level(height);
  });
  hls.loadSource(hlsUrl);
  hls.attachMedia(video);
  window.chooseHeight = (height) => {
    hls.currentLevel = level(height);
  };
  window.playerState = () => ({ latency: hls.latency, target: hls.targetLatency, level: hls.currentLevel });
}

async function dash() {
  await script('/dash.js');
  const dash = window.dashjs.MediaPlayer().create();
  dash.updateSettings({ streaming: { applyServiceDescription: true, liveCatchup: { enabled: true } } });
  dash.on('error', (event) => console.error(`dash.js: ${event.error?.code} ${event.error?.message}`));
  dash.initialize(video, dashUrl, true);
  const choose = (height) => {
    const wanted = dash.getRepresentationsByType('video').find((representation) => representation.height === height);
    dash.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: false } } } });
    dash.setRepresentationForTypeById('video', wanted.id, true);
  };
  if (height) dash.on('streamInitialized', () => choose(height));
  window.chooseHeight = choose;
  window.playerState = () => ({ latency: dash.getCurrentLiveLatency(), target: dash.getTargetLiveDelay() });
}

async function shaka(url) {
  await script('/shaka.js');
  window.shaka.polyfill.installAll();
  const shaka = new window.shaka.Player();
  await shaka.attach(video);
  shaka.configure({ streaming: { lowLatencyMode: true } });
  shaka.addEventListener('error', (event) => console.error(`shaka: ${event.detail.code}`));
  window.chooseHeight = (height) => {
    shaka.configure({ abr: { enabled: false } });
    shaka.selectVariantTrack(shaka.getVariantTracks().find((track) => track.height === height), true, 0);
  };
  await shaka.load(url);
  if (height) window.chooseHeight(height);
  window.playerState = () => ({ latency: shaka.getStats().liveLatency });
}

await { hls, dash, 'shaka-hls': () => shaka(hlsUrl), 'shaka-dash': () => shaka(dashUrl) }[player]();
// dash.js starts by itself, and must see the `play` event: its manifest is refreshed only from then on.
if (player !== 'dash') video.play().catch((error) => console.error(String(error)));
