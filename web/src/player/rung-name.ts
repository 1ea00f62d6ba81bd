import { text } from '../text/en';
import type { Rung } from './engine';

/** "720p", or "720p source" for what the broadcaster sends, untouched. */
export const rungName = (rung: Rung): string =>
  rung.name === 'source' ? (rung.height > 0 ? `${rung.height}p ${text.player.source.toLowerCase()}` : text.player.source) : rung.name || `${rung.height}p`;
