import type { Problem } from '../lib/api';
import { ApiError, ManageClient, problemOf, type Me, type Scope } from '../lib/manage';

const PLACE = 'tidewire.token';

/** For the tab by default; on this device when the person asked to stay signed in. */
function stored(): string | null {
  try {
    return sessionStorage.getItem(PLACE) ?? localStorage.getItem(PLACE);
  } catch {
    return null;
  }
}

function store(token: string | null, stay: boolean): void {
  try {
    sessionStorage.removeItem(PLACE);
    localStorage.removeItem(PLACE);
    if (token !== null) (stay ? localStorage : sessionStorage).setItem(PLACE, token);
  } catch {
    // A browser that refuses storage keeps the token only as long as the page is open.
  }
}

type Status = 'out' | 'checking' | 'in' | 'unreachable';

/** Who uses the management pages: an admin token, checked by the server. */
class Session {
  status = $state<Status>('out');
  me = $state.raw<Me | null>(null);
  client = $state.raw<ManageClient | null>(null);
  /** Why the last token was not taken. */
  problem = $state.raw<Problem | null>(null);

  /** Signs in with what this browser kept, once a page. */
  resume(): void {
    const token = stored();
    if (token !== null && this.status === 'out' && this.problem === null) void this.#check(token);
  }

  /** Whether this browser keeps a token that can be tried again. */
  get isKept(): boolean {
    return stored() !== null;
  }

  retry(): void {
    const token = stored();
    if (token !== null) void this.#check(token);
  }

  async signIn(token: string, stay: boolean): Promise<void> {
    if (await this.#check(token)) store(token, stay);
  }

  signOut(): void {
    store(null, false);
    this.#leave(null);
  }

  can(scope: Scope): boolean {
    const scopes = this.me?.token.scopes ?? [];
    return scopes.includes('admin') || scopes.includes(scope);
  }

  #leave(problem: Problem | null): void {
    this.status = 'out';
    this.me = null;
    this.client = null;
    this.problem = problem;
  }

  async #check(token: string): Promise<boolean> {
    this.status = 'checking';
    this.problem = null;
    const client = new ManageClient(token, (problem) => {
      if (this.client !== client && this.status !== 'checking') return;
      store(null, false);
      this.#leave(problem);
    });
    try {
      this.me = await client.me();
      this.client = client;
      this.status = 'in';
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.problem.status === 401) return false;
      // The token may be good: keep it, and let the person try again.
      this.status = 'unreachable';
      this.problem = problemOf(error);
      return false;
    }
  }
}
export const session = new Session();
