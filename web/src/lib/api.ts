import { tokenPrefix } from './token';

/** The public API's nouns, as `/api/v1` sends them. */
export type ChannelState = 'offline' | 'starting' | 'live' | 'reconnecting' | 'ended' | 'failed';

export interface Rendition {
  name: string;
  kind: 'video' | 'audio';
  width: number | null;
  height: number | null;
  frame_rate: number | null;
  /** Measured, bits per second. */
  bitrate: number | null;
  codecs: string | null;
  source: boolean;
}

export interface Notice {
  code: string;
  severity: 'info' | 'warning' | 'error';
  text: string;
}

export interface Channel {
  name: string;
  state: ChannelState;
  title: string | null;
  started_at: string | null;
  viewers: number;
  thumbnail: string | null;
  hls: string;
  dash: string;
  stream_id: string | null;
  renditions: Rendition[];
  notices: Notice[];
}

/** An `application/problem+json` answer, or what stands for it when there was none. */
export interface Problem {
  status: number;
  code: string;
  detail: string;
  request_id: string | null;
}

export async function readProblem(response: Response): Promise<Problem> {
  const body = (await response.json().catch(() => ({}))) as Partial<Problem>;
  return {
    status: response.status,
    code: body.code ?? 'unknown',
    detail: body.detail ?? response.statusText,
    request_id: body.request_id ?? response.headers.get('x-request-id'),
  };
}

/** The signed link that the page was opened with does not open the channel, or not any more. */
export const isLinkProblem = (problem: Problem): boolean => problem.code.startsWith('token_');

/** The channel, or the problem the server named; a network failure rejects. */
export async function fetchChannel(name: string): Promise<Channel | Problem> {
  const response = await fetch(`${tokenPrefix()}/api/v1/channels/${encodeURIComponent(name)}`);
  return response.ok ? ((await response.json()) as Channel) : readProblem(response);
}
