import type { Problem } from '../lib/api';
import { problemOf } from '../lib/manage';

/** Something the server was asked for: the last good answer stays while a newer one is on its way. */
export class Loaded<T> {
  value = $state.raw<T | null>(null);
  problem = $state.raw<Problem | null>(null);
  #asked = 0;

  constructor(private readonly ask: () => Promise<T>) {}

  load = async (): Promise<void> => {
    const asked = (this.#asked += 1);
    try {
      const value = await this.ask();
      if (asked !== this.#asked) return;
      this.value = value;
      this.problem = null;
    } catch (error) {
      if (asked === this.#asked) this.problem = problemOf(error);
    }
  };
}

/** One thing a person does at a time: busy while it runs, and what went wrong. */
export class Doing {
  busy = $state(false);
  problem = $state.raw<Problem | null>(null);

  /** True when it was done. */
  async run(act: () => Promise<unknown>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.problem = null;
    try {
      await act();
      return true;
    } catch (error) {
      this.problem = problemOf(error);
      return false;
    } finally {
      this.busy = false;
    }
  }
}
