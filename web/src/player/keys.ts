import { type PlayerModel, SPEEDS } from './model.svelte';

export interface KeyTargets {
  model: PlayerModel;
  fullscreen(): void;
  pictureInPicture(): void;
  captions(): void;
  stats(): void;
  help(): void;
}

/** The player's keys, as people know them; true = used. */
export function handleKey(event: KeyboardEvent, targets: KeyTargets): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return false;
  const target = event.composedPath()[0] as HTMLElement;
  if (target.matches?.('textarea, select, [contenteditable], input:not([type=range])')) return false;
  const onSlider = target.matches?.('input[type=range], [role=slider]');
  const onControl = target.matches?.('button, a, [role=button], [role^=menuitem]');
  const { model } = targets;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;

  if (key >= '0' && key <= '9' && key.length === 1) {
    model.seekShare(Number(key) / 10);
    return true;
  }
  const step = (direction: number): void => {
    const next = SPEEDS[SPEEDS.indexOf(model.speed) + direction];
    if (next !== undefined) model.pickSpeed(next);
  };
  const actions: Record<string, (() => void) | undefined> = {
    ' ': onControl ? undefined : () => model.togglePlay(),
    k: () => model.togglePlay(),
    j: () => model.seekBy(-10),
    l: () => model.seekBy(10),
    ArrowLeft: onSlider ? undefined : () => model.seekBy(-5),
    ArrowRight: onSlider ? undefined : () => model.seekBy(5),
    ArrowUp: onSlider ? undefined : () => model.changeVolume(0.05),
    ArrowDown: onSlider ? undefined : () => model.changeVolume(-0.05),
    End: () => model.goLive(),
    Home: () => model.seekShare(0),
    m: () => model.toggleMute(),
    f: targets.fullscreen,
    p: targets.pictureInPicture,
    c: targets.captions,
    s: targets.stats,
    '<': () => step(-1),
    '>': () => step(1),
    '?': targets.help,
  };
  const action = actions[key];
  action?.();
  return action !== undefined;
}
