import type { Key } from '../../lib/manage';

/** Whether a key or token opens anything now. */
export const works = (key: Pick<Key, 'revoked_at' | 'expires_at'>): boolean => key.revoked_at === null && (key.expires_at === null || Date.parse(key.expires_at) > Date.now());

/** An instant some days from now as the API takes it; null for none. */
export const daysFromNow = (days: string): string | null => (days === '' ? null : new Date(Date.now() + Number(days) * 86_400_000).toISOString());
