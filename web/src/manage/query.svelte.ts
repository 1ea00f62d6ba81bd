import { router } from '../lib/router.svelte';

/** What stands behind `?` in the address: a filter or an order that a link keeps. */
export const query = {
  get(name: string): string {
    // The router's route is new after each change of the address.
    void router.route;
    return new URLSearchParams(location.search).get(name) ?? '';
  },
  /** An empty value takes it out. No entry in the history: going back leaves the table, not its last filter. */
  set(name: string, value: string): void {
    const url = new URL(location.href);
    if (value === '') url.searchParams.delete(name);
    else url.searchParams.set(name, value);
    history.replaceState(history.state, '', url);
    router.route = { ...router.route };
  },
};
