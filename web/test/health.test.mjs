// The health sentence: what a broadcaster reads first.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { close, load } from './modules.mjs';

const { health } = await load('/src/manage/studio/health.ts');
after(close);

const channel = (state, notices = []) => ({ name: 'demo', state, title: null, started_at: null, viewers: 0, thumbnail: null, hls: '', dash: '', stream_id: 's1', renditions: [], notices });
const second = (over = {}) => ({
  at: '2026-01-01T00:00:00Z', ingest_bitrate: 6_100_000, frame_rate: 30, gop_ms: 2000, clock_drift_ms: 0, audio_drift_ms: 0, repairs: 0, discontinuities: 0, viewers: 1,
  encoder: { running: true, speed: 1, lag_ms: 200, restarts: 0 }, renditions: [{ name: 'source', bitrate: 6_100_000, target_bitrate: null, width: 1920, height: 1080, frame_rate: 30 }], notices: [], ...over,
});
const minute = (over) => Array.from({ length: 60 }, (_, index) => second(typeof over === 'function' ? over(index) : over));
/** Numbers keep their unit by a no-break space; the expectations are written with plain ones. */
const sentence = (answer) => answer.sentence.replaceAll('\u00a0', ' ');
const warning = { code: 'keyframes_apart', severity: 'warning', text: 'Set 2 s.' };
const info = { code: 'encoder_probing', severity: 'info', text: 'The machine is being measured.' };

for (const [name, state, points, level, expected] of [
  ['well', 'live', minute(), 'good', 'Good: 1080p30, keyframes every 2 s, 6.1 Mb/s steady.'],
  ['an uneven but harmless rate', 'live', minute((at) => ({ ingest_bitrate: at % 2 ? 5_000_000 : 7_000_000 })), 'good', 'Good: 1080p30, keyframes every 2 s, between 5.0 Mb/s and 7.0 Mb/s.'],
  ['far keyframes', 'live', minute({ gop_ms: 8300 }), 'fair', 'Your encoder sends a keyframe every 8.3 s; set 2 s.'],
  ['a swinging rate', 'live', minute((at) => ({ ingest_bitrate: at % 2 ? 1_000_000 : 7_000_000 })), 'fair', 'What arrives swings between 1.0 Mb/s and 7.0 Mb/s. Set the encoder to constant bit rate, or lower it: the network may not carry it.'],
  ['missing frames', 'live', minute((at) => ({ frame_rate: at > 50 ? 21 : 30 })), 'fair', 'Only 21 of 30 frames a second arrive. The encoder’s computer is too busy: lower its size or frame rate.'],
  ['silence', 'live', minute((at) => ({ ingest_bitrate: at > 55 ? 0 : 6_000_000 })), 'bad', 'Your encoder is connected but sends nothing. Look whether it hangs, or whether its network is gone.'],
  ['a slow server', 'live', minute({ encoder: { running: true, speed: 0.9, lag_ms: 900, restarts: 0 } }), 'fair', 'This server’s own encoder runs at 90 % of real time. Fewer rungs or streams would help.'],
  ['a speed not yet known', 'live', minute({ encoder: { running: true, speed: 0, lag_ms: 0, restarts: 0 } }), 'good', 'Good: 1080p30, keyframes every 2 s, 6.1 Mb/s steady.'],
  ['a notice', 'live', minute({ notices: [info, warning] }), 'fair', 'Set 2 s.'],
  ['an error before a warning', 'live', minute({ notices: [warning, { code: 'no_keyframe', severity: 'error', text: 'No picture.' }] }), 'bad', 'No picture.'],
  ['only information', 'live', minute({ notices: [info] }), 'good', 'Good: 1080p30, keyframes every 2 s, 6.1 Mb/s steady.'],
  ['a broadcast that has just begun', 'live', minute((at) => ({ ingest_bitrate: at < 40 ? 0 : at < 42 ? 900_000 : 6_100_000 })), 'good', 'Good: 1080p30, keyframes every 2 s, 6.1 Mb/s steady.'],
  ['a connection without media', 'live', minute({ ingest_bitrate: 0 }), 'none', 'Your encoder has connected. The first seconds are being measured.'],
  ['no figures yet', 'live', [], 'none', 'Your encoder has connected. The first seconds are being measured.'],
  ['nobody', 'offline', [], 'none', 'Nothing arrives. Start streaming in your encoder with the server and key on this page.'],
  ['waiting', 'reconnecting', minute(), 'fair', 'Your encoder’s connection dropped. The broadcast waits for it to come back.'],
]) {
  test(name, () => {
    const answer = health(channel(state), points);
    assert.equal(sentence(answer), expected);
    assert.equal(answer.level, level);
  });
}

test('what is no headline is said besides', () => {
  assert.deepEqual(health(channel('live'), minute({ notices: [info, warning] })).further, [info.text]);
  assert.deepEqual(health(channel('live'), minute({ notices: [info] })).further, [info.text]);
});
