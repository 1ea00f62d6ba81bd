/** One sentence on how a broadcast does: from its state, the server's notices, and the last half minute of figures. */
import type { Channel, Notice } from '../../lib/api';
import { bitrate as plainBitrate } from '../../lib/format';
import type { Stats } from '../../lib/manage';
import { words } from '../../text/en-manage';
import { interval, rate } from '../say';

export interface Health {
  level: 'none' | 'good' | 'fair' | 'bad';
  sentence: string;
  /** Worth knowing besides. */
  further: string[];
}

/** A number and its unit stay on one line. */
const bitrate = (bits: number): string => plainBitrate(bits).replace(' ', '\u00a0');

const LOOK_BACK = 30;
/** The first seconds of a stream: its rates are still finding themselves. */
const SETTLE_S = 3;
/** Nothing for this many seconds on end is silence. */
const SILENT_S = 4;
/** A keyframe further apart than this makes viewers wait (the server re-encodes beyond it). */
const KEYFRAMES_APART_MS = 4500;
/** Spread of the bit rate, standard deviation over mean, that still counts as steady. */
const STEADY = 0.12;
const UNSTEADY = 0.3;
/** Share of the usual frame rate below which frames are missing. */
const FRAMES_MISSING = 0.9;
/** Share of real time below which an encoder falls behind. */
const SLOW = 0.97;

const severities: Notice['severity'][] = ['error', 'warning', 'info'];

export function health(channel: Channel, points: readonly Stats[]): Health {
  const text = words.health;
  const notices = [...(points.at(-1)?.notices ?? channel.notices)].sort((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity));
  const said = notices.map((notice) => notice.text);
  if (channel.state === 'offline' || channel.state === 'ended') return { level: 'none', sentence: text[channel.state], further: [] };
  if (channel.state === 'failed') return { level: 'bad', sentence: said[0] ?? text.failed, further: said.slice(1) };
  if (channel.state === 'reconnecting') return { level: 'fair', sentence: text.reconnecting, further: said };
  const begun = points.findIndex((point) => point.ingest_bitrate > 0);
  const recent = begun < 0 ? [] : points.slice(Math.max(begun + SETTLE_S, points.length - LOOK_BACK));
  if (channel.state === 'starting' || recent.length < 2) return { level: 'none', sentence: text.starting, further: said };

  const rates = recent.map((point) => point.ingest_bitrate);
  if (recent.length >= SILENT_S && rates.slice(-SILENT_S).every((value) => value === 0)) return { level: 'bad', sentence: text.silent, further: said };
  const trouble = notices.filter((notice) => notice.severity !== 'info');
  if (trouble[0]) {
    return { level: trouble[0].severity === 'error' ? 'bad' : 'fair', sentence: trouble[0].text, further: said.filter((item) => item !== trouble[0]?.text) };
  }
  const own = suspicion(recent, rates);
  if (own) return { level: 'fair', sentence: own, further: said };
  return { level: 'good', sentence: text.good(facts(channel, recent, rates)), further: said };
}

/** What the figures show and no notice says. */
function suspicion(recent: readonly Stats[], rates: readonly number[]): string | undefined {
  const text = words.health;
  const last = recent.at(-1);
  if (!last) return undefined;
  if (last.gop_ms > KEYFRAMES_APART_MS) return text.keyframesFar(interval(last.gop_ms));
  const frames = recent.map((point) => point.frame_rate);
  const usual = Math.max(...frames);
  const now = mean(frames.slice(-5));
  if (usual > 0 && now < usual * FRAMES_MISSING) return text.frames(rate(Math.round(now)), rate(Math.round(usual)));
  if (spread(rates) > UNSTEADY) return text.unsteady(...range(rates));
  const speed = last.encoder?.running ? last.encoder.speed : 0;
  return speed > 0 && speed < SLOW ? text.slow(`${Math.round(speed * 100)} %`) : undefined;
}

function facts(channel: Channel, recent: readonly Stats[], rates: readonly number[]): string {
  const text = words.health;
  const last = recent.at(-1);
  const source = last?.renditions.find((item) => item.name === 'source') ?? channel.renditions.find((item) => item.source && item.kind === 'video');
  const frames = last?.frame_rate ? rate(Math.round(last.frame_rate)) : '';
  const parts: string[] = [];
  if (source?.height) parts.push(`${source.height}p${frames}`);
  if (last?.gop_ms) parts.push(text.keyframes(interval(last.gop_ms)));
  parts.push(spread(rates) <= STEADY ? text.steady(bitrate(mean(rates))) : text.unsteadyPart(...range(rates)));
  return parts.join(', ');
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

function spread(values: readonly number[]): number {
  const middle = mean(values);
  return middle === 0 ? 0 : Math.sqrt(mean(values.map((value) => (value - middle) ** 2))) / middle;
}

const range = (values: readonly number[]): [string, string] => [bitrate(Math.min(...values)), bitrate(Math.max(...values))];
