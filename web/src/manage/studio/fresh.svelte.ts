import type { NewKey } from '../../lib/manage';

/** Keys made on this page, by channel: the server shows a key once, and nothing here outlives the page. */
class FreshKeys {
  #keys = $state.raw<Readonly<Record<string, NewKey>>>({});

  get = (channel: string): NewKey | undefined => this.#keys[channel];

  set(channel: string, key: NewKey): void {
    this.#keys = { ...this.#keys, [channel]: key };
  }

  delete(channel: string): void {
    const { [channel]: _, ...others } = this.#keys;
    this.#keys = others;
  }
}
export const freshKeys = new FreshKeys();
