import type { ManageClient, Stats } from '../../lib/manage';

/** Seconds that are kept and shown. */
export const KEPT_S = 120;

/** A stream's figures as the server pushes them, one a second, after the two minutes before. */
export class StatsFeed {
  points = $state.raw<readonly Stats[]>([]);
  lost = $state(false);
  over = $state(false);

  get latest(): Stats | undefined {
    return this.points.at(-1);
  }

  /** Returns its own undo. */
  open(client: ManageClient, stream: string): () => void {
    this.points = [];
    this.over = false;
    this.lost = false;
    return client.followStats(stream, {
      message: (event, data) => {
        if (event === 'history') this.points = (data as Stats[]).slice(-KEPT_S);
        else if (event === 'stats') this.points = [...this.points.slice(1 - KEPT_S), data as Stats];
      },
      connection: (state) => (this.lost = state === 'lost'),
      closed: () => {
        this.over = true;
        this.lost = false;
      },
    });
  }
}
