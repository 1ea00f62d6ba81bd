/** Server-sent events read with `fetch`: the browser's own EventSource cannot send an `Authorization` header. */
import { type Problem, readProblem } from './api';

export interface Following {
  message(event: string, data: unknown): void;
  /** `lost` = it comes back by itself. */
  connection(state: 'connecting' | 'open' | 'lost'): void;
  /** It will not come back: the server said why. */
  closed(problem: Problem): void;
}

export interface Message {
  event: string;
  data: string;
  id: string | null;
}

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 15_000;
/** Characters of one message; a longer one is no message of ours. */
const MESSAGE_MAX = 4 * 1024 * 1024;

/** Cuts a stream of text into messages (WHATWG HTML 9.2.6); comments and `retry` are left out. */
export class MessageReader {
  #rest = '';

  push(text: string): Message[] {
    this.#rest += text;
    const messages: Message[] = [];
    for (;;) {
      const end = /\r?\n\r?\n/.exec(this.#rest);
      if (!end) break;
      const message = parse(this.#rest.slice(0, end.index));
      this.#rest = this.#rest.slice(end.index + end[0].length);
      if (message) messages.push(message);
    }
    if (this.#rest.length > MESSAGE_MAX) throw new Error('a server-sent event without an end');
    return messages;
  }
}

function parse(block: string): Message | undefined {
  const message: Message = { event: 'message', data: '', id: null };
  const lines: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon === 0) continue;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') message.event = value;
    else if (field === 'data') lines.push(value);
    else if (field === 'id') message.id = value;
  }
  message.data = lines.join('\n');
  return lines.length > 0 ? message : undefined;
}

/** Follows until the returned function is called; resumes after the last id when the connection breaks. */
export function follow(path: string, token: string, on: Following): () => void {
  const abort = new AbortController();
  const { signal } = abort;
  let lastId: string | null = null;

  async function once(): Promise<Problem | undefined> {
    const headers: Record<string, string> = { authorization: `Bearer ${token}`, accept: 'text/event-stream' };
    if (lastId !== null) headers['last-event-id'] = lastId;
    const response = await fetch(path, { headers, signal, cache: 'no-store' });
    if (!response.ok || !response.body) {
      const problem = await readProblem(response);
      return problem.status < 500 && problem.status !== 429 ? problem : undefined;
    }
    on.connection('open');
    wait = RETRY_FIRST_MS;
    const messages = new MessageReader();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return undefined;
      for (const message of messages.push(value)) {
        lastId = message.id ?? lastId;
        on.message(message.event, JSON.parse(message.data));
      }
    }
  }

  let wait = RETRY_FIRST_MS;
  void (async () => {
    on.connection('connecting');
    while (!signal.aborted) {
      const problem = await once().catch(() => undefined);
      if (signal.aborted) return;
      if (problem) return on.closed(problem);
      on.connection('lost');
      await new Promise<void>((done) => {
        const timer = setTimeout(done, wait);
        signal.addEventListener('abort', () => (clearTimeout(timer), done()), { once: true });
      });
      wait = Math.min(wait * 2, RETRY_MAX_MS);
    }
  })();
  return () => abort.abort();
}
