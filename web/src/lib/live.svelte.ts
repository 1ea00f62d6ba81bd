import type { Channel } from './api';

export type Connection = 'connecting' | 'open' | 'lost';

/**
 * Channels as the server pushes them (`/api/v1/live`), all or one. The browser's EventSource reconnects by itself; a
 * fresh snapshot then replaces everything, so no state is kept about what was missed.
 */
export class LiveChannels {
  channels = $state.raw<ReadonlyMap<string, Channel>>(new Map());
  connection = $state<Connection>('connecting');
  /** False until the first snapshot. */
  known = $state(false);
  #source: EventSource | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly only?: string) {}

  open(): void {
    const query = this.only === undefined ? '' : `?channel=${encodeURIComponent(this.only)}`;
    const source = new EventSource(`/api/v1/live${query}`);
    this.#source = source;
    source.addEventListener('snapshot', (event) => {
      const body = JSON.parse(event.data as string) as { data: Channel[] } | Channel[];
      const list = Array.isArray(body) ? body : body.data;
      this.channels = new Map(list.map((channel) => [channel.name, channel]));
      this.known = true;
      this.connection = 'open';
    });
    source.addEventListener('channel', (event) => {
      const channel = JSON.parse(event.data as string) as Channel;
      this.channels = new Map(this.channels).set(channel.name, channel);
    });
    source.onerror = () => {
      this.connection = 'lost';
      // A refused connection (server restarting behind a proxy) closes the source for good: open a new one.
      if (source.readyState === EventSource.CLOSED) {
        this.#retry = setTimeout(() => this.#source === source && this.open(), 2000);
      }
    };
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = undefined;
  }
}
