const whole = new Intl.NumberFormat('en');
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const count = (value: number): string => (value < 10_000 ? whole.format(value) : compact.format(value));

/** 3:07 or 1:02:09. */
export function clock(seconds: number): string {
  const all = Math.max(0, Math.floor(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  const hours = Math.floor(all / 3600);
  const minutes = Math.floor((all % 3600) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(all % 60)}` : `${minutes}:${two(all % 60)}`;
}

export function elapsed(startedAt: string | null, nowMs: number): string {
  return startedAt === null ? '' : clock((nowMs - Date.parse(startedAt)) / 1000);
}

/** "-12 s" within the last minute, "-1:12" beyond. */
export const behind = (seconds: number): string =>
  seconds < 60 ? `-${Math.round(seconds)} s` : `-${clock(seconds)}`;

export const seconds = (value: number): string => `${value.toFixed(2)} s`;

/** Bits per second as "2.5 Mb/s" or "400 kb/s". */
export function bitrate(bits: number): string {
  if (bits < 1_000_000) return `${Math.round(bits / 1000)} kb/s`;
  return `${(bits / 1_000_000).toFixed(bits < 10_000_000 ? 1 : 0)} Mb/s`;
}
