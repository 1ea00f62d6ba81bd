import type { Key } from '../../lib/manage';

/** Whether an encoder may use it now. */
export const works = (key: Key): boolean => key.revoked_at === null && (key.expires_at === null || Date.parse(key.expires_at) > Date.now());

/** An instant some days from now as the API takes it; null for none. */
export const daysFromNow = (days: string): string | null => (days === '' ? null : new Date(Date.now() + Number(days) * 86_400_000).toISOString());
