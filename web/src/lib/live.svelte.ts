import { type Channel, fetchChannel, isLinkProblem, type Problem } from './api';
import { tokenPrefix } from './token';

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
  /** Why the signed link that the page was opened with opens nothing. */
  refused = $state.raw<Problem | null>(null);
  #source: EventSource | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly only?: string) {}

  open(): void {
    const path = this.only === undefined ? '/api/v1/live' : `${tokenPrefix()}/api/v1/live?channel=${encodeURIComponent(this.only)}`;
    const source = new EventSource(path);
    this.#source = source;
    source.addEventListener('snapshot', (event) => {
      const body = JSON.parse(event.data as string) as { data: Channel[] } | Channel[];
      const list = Array.isArray(body) ? body : body.data;
      this.channels = new Map(list.map((channel) => [channel.name, channel]));
      this.known = true;
      this.refused = null;
      this.connection = 'open';
    });
    source.addEventListener('channel', (event) => {
      const channel = JSON.parse(event.data as string) as Channel;
      this.channels = new Map(this.channels).set(channel.name, channel);
    });
    source.onerror = () => {
      this.connection = 'lost';
      // A refused connection (server restarting behind a proxy) closes the source for good: open a new one.
      if (source.readyState === EventSource.CLOSED) void this.#closed(source);
    };
  }

  /** An EventSource does not say why it was refused: another request does. */
  async #closed(source: EventSource): Promise<void> {
    if (this.only !== undefined && tokenPrefix() !== '') {
      const answer = await fetchChannel(this.only).catch(() => undefined);
      if (this.#source !== source) return;
      if (answer && 'code' in answer && isLinkProblem(answer)) {
        this.refused = answer;
        // Of all that may be wrong with a link, only this changes by itself.
        if (answer.code !== 'token_not_yet') return;
      }
    }
    this.#retry = setTimeout(() => this.#source === source && this.open(), this.refused ? 5000 : 2000);
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = undefined;
  }
}
