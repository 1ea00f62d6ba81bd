import type { Channel } from '../lib/api';
import { LiveChannels } from '../lib/live.svelte';
import type { ManageClient, Managed, ServerEvent } from '../lib/manage';
import { Loaded } from './loaded.svelte';

/** News of one moment (a start is six events) are one question. */
const GATHER_MS = 150;

/**
 * Every channel, private ones too. The public ones' figures come with the viewers' own stream of news; that stream keeps
 * quiet about private channels, so the operator's events say when to ask again.
 */
export class ManagedChannels {
  lost = $state(false);
  #live = new LiveChannels();
  #loaded: Loaded<Managed[]>;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly client: ManageClient) {
    this.#loaded = new Loaded(() => client.channels());
  }

  get list(): Managed[] | null {
    const list = this.#loaded.value;
    return list && list.map((item) => ({ ...item, channel: this.#fresh(item.channel) }));
  }

  get problem() {
    return this.#loaded.problem;
  }

  load = (): Promise<void> => this.#loaded.load();

  /** Use inside `$effect`; returns its own undo. */
  open = (): (() => void) => {
    void this.load();
    this.#live.open();
    const close = followNews(this.client, {}, () => this.#soon(), (lost) => (this.lost = lost));
    return () => {
      clearTimeout(this.#timer);
      this.#live.close();
      close();
    };
  };

  #fresh(channel: Channel): Channel {
    return this.#live.channels.get(channel.name) ?? channel;
  }

  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.load(), GATHER_MS);
  }
}

/** Calls `news` with each event, and once without one when the connection is back after a break. */
export function followNews(client: ManageClient, filter: { channel?: string; type?: string }, news: (event: ServerEvent | null) => void, lost: (is: boolean) => void): () => void {
  let wasLost = false;
  let closeLive: (() => void) | undefined;
  const close = client.followEvents(filter, {
    message: (_, data) => news(data as ServerEvent),
    connection: (state) => {
      lost(state === 'lost');
      if (state === 'open' && wasLost) news(null);
      wasLost = state === 'lost' || (wasLost && state !== 'open');
    },
    closed: (problem) => {
      if (problem.status === 404) closeLive = followPublicNews(filter.channel, () => news(null));
      else lost(true);
    },
  });
  return () => {
    close();
    closeLive?.();
  };
}

/** For a server that keeps no event log: what everybody may see tells at least when a public channel changes. */
function followPublicNews(channel: string | undefined, changed: () => void): () => void {
  const source = new EventSource(`/api/v1/live${channel === undefined ? '' : `?channel=${encodeURIComponent(channel)}`}`);
  const known = new Map<string, string>();
  source.addEventListener('channel', (event) => {
    const { name, state, stream_id } = JSON.parse(event.data as string) as Channel;
    const now = `${state} ${stream_id}`;
    // Most news are viewer counts.
    if (known.get(name) !== now) changed();
    known.set(name, now);
  });
  source.addEventListener('snapshot', changed);
  return () => source.close();
}
