/** Numbers and times as the management pages say them. */
import type { Channel } from '../lib/api';

const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
const dayWithYear = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
const second = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const HALF_YEAR_MS = 183 * 86_400_000;

/** "27 Nov, 21:30", with the year instead of the hour when it is far away. */
export function moment(at: string): string {
  const date = new Date(at);
  return (Math.abs(Date.now() - date.getTime()) > HALF_YEAR_MS ? dayWithYear : day).format(date);
}

export const timeOfDay = (at: string | number): string => second.format(new Date(at));

/** "3 minutes ago", "in 12 days". */
export function distance(at: string, now = Date.now()): string {
  const seconds = (Date.parse(at) - now) / 1000;
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [
    [60, 'second'],
    [60, 'minute'],
    [24, 'hour'],
    [30, 'day'],
    [12, 'month'],
    [Infinity, 'year'],
  ];
  let value = seconds;
  for (const [size, unit] of steps) {
    if (Math.abs(value) < size) return relative.format(Math.round(value), unit);
    value /= size;
  }
  return at;
}

/** "2 s", "8.3 s". */
export const interval = (ms: number): string => `${(ms / 1000).toFixed(ms % 1000 < 50 || ms % 1000 > 950 ? 0 : 1)}\u00a0s`;

/** "30", "29.97". */
export const rate = (value: number): string => String(Math.round(value * 100) / 100);

export const signedMs = (value: number): string => `${value > 0 ? '+' : value < 0 ? '−' : ''}${Math.abs(value).toFixed(Math.abs(value) < 10 ? 1 : 0)} ms`;

export const onAir = (channel: Channel): boolean => ['live', 'starting', 'reconnecting'].includes(channel.state);

/** The colour of a state's dot. */
export function tone(channel: Channel): 'good' | 'fair' | 'bad' | '' {
  if (channel.state === 'failed') return 'bad';
  if (channel.state === 'reconnecting') return 'fair';
  if (channel.state !== 'live') return '';
  const worst = channel.notices.map((notice) => notice.severity);
  return worst.includes('error') ? 'bad' : worst.includes('warning') ? 'fair' : 'good';
}

/** The name of a program that publishes, as people know it. */
export function encoderName(said: string): string {
  const obs = /libobs version ([\d.]+)/.exec(said);
  if (obs) return `OBS Studio ${obs[1]}`;
  return said.startsWith('Lavf') ? `FFmpeg (${said})` : said;
}

/** Goes to a page of the app as a click on a link does. */
export function go(path: string): void {
  history.pushState(null, '', path);
  dispatchEvent(new PopStateEvent('popstate'));
  scrollTo(0, 0);
}
