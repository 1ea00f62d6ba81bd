/** The management API's nouns and calls, as `/api/v1` gives them to whoever holds an admin token. */
import { type Channel, type ChannelState, type Notice, type Problem, readProblem } from './api';
import { follow, type Following } from './follow';

export type Scope = 'read' | 'publish' | 'admin';

export interface Me {
  token: Pick<AdminToken, 'id' | 'label' | 'scopes' | 'expires_at'>;
  /** Addresses are null where the server does not listen. */
  server: { version: string; http: string | null; rtmp: string | null; rtmps: string | null; srt: string | null };
}

export interface Managed {
  id: string;
  name: string;
  private: boolean;
  created_at: string;
  channel: Channel;
}

export interface Key {
  id: string;
  /** The first characters of the key, for telling keys apart. */
  prefix: string;
  /** May be empty. */
  label: string;
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  used_at: string | null;
}
/** The one answer that carries the key itself. */
export type NewKey = Key & { stream_key: string };

export interface Stream {
  id: string;
  channel: string;
  state: ChannelState;
  started_at: string;
  ended_at: string | null;
  /** Why it is in this state, when that is not plain. */
  reason: string | null;
  publisher: { protocol: string | null; encoder: string | null; address: string | null };
  source: { codecs: string | null; width: number | null; height: number | null; frame_rate: number | null };
}

export interface RungStats {
  name: string;
  /** Bits a second: the mean so far, and asked of the encoder (null for what the publisher made itself). */
  bitrate: number | null;
  target_bitrate: number | null;
  width: number | null;
  height: number | null;
  frame_rate: number | null;
}

export interface Stats {
  at: string;
  /** Bits a second; 0 while nothing comes. */
  ingest_bitrate: number;
  /** 0 while unknown, as are `gop_ms` and the encoder's speed. */
  frame_rate: number;
  gop_ms: number;
  clock_drift_ms: number;
  audio_drift_ms: number;
  /** Since the stream began. */
  repairs: number;
  discontinuities: number;
  viewers: number;
  encoder: { running: boolean; speed: number; lag_ms: number; restarts: number } | null;
  renditions: RungStats[];
  notices: Notice[];
}

export interface AdminToken {
  id: string;
  prefix: string;
  /** May be empty. */
  label: string;
  scopes: Scope[];
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
}

export interface Webhook {
  id: string;
  url: string;
  /** May be empty. */
  label: string;
  /** Event types; empty = all. */
  events: string[];
  enabled: boolean;
  created_at: string;
  /** Since when no delivery has succeeded; null: the last one did. */
  failing_since: string | null;
}

export interface Delivery {
  id: string;
  event_id: string;
  type: string;
  /** `failed` = it is not tried again. */
  state: 'pending' | 'delivered' | 'failed';
  /** Attempts so far; status, error, time and duration are of the last one. */
  attempt: number;
  status: number | null;
  error: string | null;
  at: string | null;
  duration_ms: number | null;
}

export interface ServerEvent {
  id: string;
  type: string;
  at: string;
  channel: string;
  channel_id: string;
  stream_id: string | null;
  data: unknown;
}

export interface EventFilter {
  type?: string;
  channel?: string;
}

export interface StartAnswer {
  channel: string;
  /** The encoder needs the key beside it; null: RTMP is off. */
  publish_url: string | null;
  hls: string;
  dash: string;
  state: ChannelState;
}

interface List<T> {
  data: T[];
  next: string | null;
}

/** A call that did not succeed: the server's own words, or status 0 when it did not answer at all. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

export const problemOf = (error: unknown): Problem =>
  error instanceof ApiError ? error.problem : { status: 0, code: 'page_fault', detail: String(error), request_id: null };

/** Pages of a list that are fetched before it is cut: 10 of 200. */
const PAGES_MAX = 10;
const PAGE_SIZE = 200;

const segment = encodeURIComponent;

function eventsPath(filter: EventFilter & { order?: 'desc' }): string {
  const wanted = new URLSearchParams({ ...filter }).toString();
  return wanted === '' ? '/events' : `/events?${wanted}`;
}

/** Calls with one token. `refused` hears of a token that the server no longer takes. */
export class ManageClient {
  constructor(
    private readonly token: string,
    private readonly refused: (problem: Problem) => void,
  ) {}

  me = (): Promise<Me> => this.#ask('GET', '/me');

  channels = (): Promise<Managed[]> => this.#all('/manage/channels');
  channel = (name: string): Promise<Managed> => this.#ask('GET', `/manage/channels/${segment(name)}`);
  addChannel = (name: string, isPrivate: boolean): Promise<{ channel: Managed; key: NewKey }> =>
    this.#ask('POST', '/manage/channels', { name, private: isPrivate });
  changeChannel = (name: string, change: { private: boolean }): Promise<Managed> => this.#ask('PATCH', `/manage/channels/${segment(name)}`, change);
  removeChannel = (name: string): Promise<void> => this.#ask('DELETE', `/manage/channels/${segment(name)}`);

  keys = (channel: string): Promise<Key[]> => this.#all(`/manage/channels/${segment(channel)}/keys`);
  addKey = (channel: string, label: string, expiresAt: string | null): Promise<NewKey> =>
    this.#ask('POST', `/manage/channels/${segment(channel)}/keys`, { label, ...(expiresAt !== null && { expires_at: expiresAt }) });
  revokeKey = (channel: string, id: string): Promise<void> => this.#ask('DELETE', `/manage/channels/${segment(channel)}/keys/${segment(id)}`);
  rotateKey = (channel: string, id: string, overlapS: number): Promise<NewKey> =>
    this.#ask('POST', `/manage/channels/${segment(channel)}/keys/${segment(id)}/rotate`, { overlap_s: overlapS });

  streams = (): Promise<Stream[]> => this.#first('/streams');
  stream = (id: string): Promise<Stream> => this.#ask('GET', `/streams/${segment(id)}`);
  /** The newest broadcast of a channel, running or over. */
  lastStream = async (channel: string): Promise<Stream | undefined> =>
    (await this.#ask<List<Stream>>('GET', `/streams?channel=${segment(channel)}&limit=1`)).data[0];
  stopStream = (id: string): Promise<void> => this.#ask('POST', `/streams/${segment(id)}/stop`);
  followStats = (id: string, on: Following): (() => void) => this.#follow(`/streams/${segment(id)}/stats/live`, on);
  /** Asks whether a key opens a channel, and where to send to. */
  start = (streamKey: string): Promise<StartAnswer> => this.#ask('POST', '/stream/start', { stream_key: streamKey });

  tokens = (): Promise<AdminToken[]> => this.#all('/tokens');
  addToken = (label: string, scopes: Scope[], expiresAt: string | null): Promise<AdminToken & { token: string }> =>
    this.#ask('POST', '/tokens', { label, scopes, ...(expiresAt !== null && { expires_at: expiresAt }) });
  revokeToken = (id: string): Promise<void> => this.#ask('DELETE', `/tokens/${segment(id)}`);

  webhooks = (): Promise<Webhook[]> => this.#all('/webhooks');
  addWebhook = (url: string, events: string[], label: string): Promise<Webhook & { secret: string }> =>
    this.#ask('POST', '/webhooks', { url, events, ...(label && { label }) });
  changeWebhook = (id: string, change: Partial<Pick<Webhook, 'enabled' | 'events' | 'url'>>): Promise<Webhook> =>
    this.#ask('PATCH', `/webhooks/${segment(id)}`, change);
  removeWebhook = (id: string): Promise<void> => this.#ask('DELETE', `/webhooks/${segment(id)}`);
  deliveries = (id: string): Promise<Delivery[]> => this.#first(`/webhooks/${segment(id)}/deliveries`);
  replay = (id: string, delivery: string): Promise<void> => this.#ask('POST', `/webhooks/${segment(id)}/deliveries/${segment(delivery)}/replay`);

  /** Newest first. */
  events = (filter: EventFilter = {}): Promise<ServerEvent[]> => this.#first(eventsPath({ ...filter, order: 'desc' }));
  followEvents = (filter: EventFilter, on: Following): (() => void) => this.#follow(eventsPath(filter), on);

  #follow(path: string, on: Following): () => void {
    return follow(`/api/v1${path}`, this.token, {
      ...on,
      closed: (problem) => {
        if (problem.status === 401) this.refused(problem);
        on.closed(problem);
      },
    });
  }

  /** The newest page of a list that only grows. */
  async #first<T>(path: string): Promise<T[]> {
    return (await this.#ask<List<T>>('GET', `${path}${path.includes('?') ? '&' : '?'}limit=${PAGE_SIZE}`)).data;
  }

  async #all<T>(path: string): Promise<T[]> {
    const data: T[] = [];
    let after = '';
    for (let page = 0; page < PAGES_MAX; page += 1) {
      const list: List<T> = await this.#ask('GET', `${path}?limit=${PAGE_SIZE}${after}`);
      data.push(...list.data);
      if (list.next === null) break;
      after = `&after=${segment(list.next)}`;
    }
    return data;
  }

  async #ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    let response: Response;
    try {
      response = await fetch(`/api/v1${path}`, {
        method,
        cache: 'no-store',
        headers: { authorization: `Bearer ${this.token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    } catch {
      throw new ApiError({ status: 0, code: 'no_answer', detail: '', request_id: null });
    }
    if (!response.ok) {
      const problem = await readProblem(response);
      if (response.status === 401) this.refused(problem);
      throw new ApiError(problem);
    }
    const text = await response.text();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }
}
