// A mock, no server: the built pages, the public and the management API (see manage.mjs), and a pretend broadcast: `npm run mock [-- --port 8099]`.
// `POST /mock/CHANNEL/STATE` moves a channel to a state; `POST /mock/CHANNEL/notice?text=...` sets or clears a notice.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Broadcast, mediaDir, prepareMedia, RUNGS } from './broadcast.mjs';
import { Management } from './manage.mjs';

const dist = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist');
const port = Number(process.argv[process.argv.indexOf('--port') + 1]) || 8099;
const listeners = new Set();
const channels = new Map();
let removed = [];
const management = new Management({ channels, addChannel, changed, problem, setState });
const MIME = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json', '.jpg': 'image/jpeg' };

const rendition = (rung) => ({ name: rung.name, kind: 'video', width: rung.width, height: rung.height, frame_rate: 30, bitrate: rung.bitrate, codecs: rung.codecs, source: rung.name === 'source' });

function addChannel(name, view, broadcast = null) {
  channels.set(name, { broadcast, view: { name, state: 'offline', title: null, started_at: null, viewers: 0, thumbnail: null, hls: `/live/${name}/master.m3u8`, dash: `/live/${name}/manifest.mpd`, stream_id: null, renditions: [], notices: [], ...view } });
}

function changed(name) {
  const { view } = channels.get(name);
  for (const { response, only } of listeners) {
    if (!only || only === name) response.write(`event: channel\ndata: ${JSON.stringify(view)}\n\n`);
  }
  management.emit({ offline: 'stream.ended', starting: 'stream.started' }[view.state] ?? `stream.${view.state}`, name);
}

function liveView(broadcast) {
  return { state: 'live', started_at: broadcast.startedAt.toISOString(), stream_id: broadcast.id, thumbnail: '/live/demo/thumbnail.jpg?v=0', renditions: [...RUNGS.map(rendition), { name: 'audio', kind: 'audio', width: null, height: null, frame_rate: null, bitrate: 128000, codecs: 'mp4a.40.2', source: true }] };
}

async function setState(name, state) {
  const channel = channels.get(name);
  if (state === 'live' && !(channel.view.state === 'reconnecting')) {
    channel.broadcast?.stop();
    channel.broadcast = new Broadcast();
    Object.assign(channel.view, { state: 'starting', stream_id: channel.broadcast.id, started_at: channel.broadcast.startedAt.toISOString() });
    changed(name);
    while (!channel.broadcast.ready) await new Promise((done) => setTimeout(done, 50));
    Object.assign(channel.view, liveView(channel.broadcast));
  } else if (state === 'ended' || state === 'failed') {
    channel.broadcast?.end();
    channel.view.state = state;
  } else if (state === 'offline') {
    channel.broadcast?.stop();
    channel.broadcast = null;
    Object.assign(channel.view, { state, stream_id: null, started_at: null, thumbnail: null, renditions: [] });
  } else channel.view.state = state;
  changed(name);
}

function problem(response, status, code, detail) {
  const id = Math.random().toString(36).slice(2, 12);
  response.writeHead(status, { 'content-type': 'application/problem+json', 'x-request-id': id });
  response.end(JSON.stringify({ type: 'about:blank', status, code, detail, request_id: id }));
}

function events(request, response, url) {
  const only = url.searchParams.get('channel');
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  const data = [...channels.values()].map((channel) => channel.view).filter((view) => !only || view.name === only);
  response.write(`event: snapshot\ndata: ${JSON.stringify({ data })}\n\n`);
  const entry = { response, only };
  listeners.add(entry);
  request.on('close', () => listeners.delete(entry));
}

async function live(response, url, path) {
  const [, name, what, stream, file] = path;
  if (what === 'thumbnail.jpg') {
    const index = Number(url.searchParams.get('v') ?? 0) % 2;
    return response.writeHead(200, { 'content-type': 'image/jpeg' }).end(await readFile(join(mediaDir, `thumb-${index}.jpg`)));
  }
  const broadcast = channels.get(name)?.broadcast;
  if (!broadcast?.ready) return problem(response, 404, 'not_live', `Channel ${name} is not live.`);
  if (what === 'master.m3u8') return response.writeHead(200, { 'content-type': 'application/vnd.apple.mpegurl' }).end(broadcast.master());
  const rendition = broadcast.rendition(what);
  if (!rendition) return problem(response, 404, 'not_found', 'No such rendition.');
  if (stream === 'playlist.m3u8') {
    const [msn, part] = ['_HLS_msn', '_HLS_part'].map((key) => url.searchParams.get(key));
    if (msn !== null) await rendition.until(Number(msn), part === null ? undefined : Number(part));
    return response.writeHead(200, { 'content-type': 'application/vnd.apple.mpegurl', 'cache-control': 'no-cache' }).end(rendition.playlist(broadcast.renditions, broadcast.id));
  }
  response.setHeader('content-type', 'video/mp4');
  if (stream !== broadcast.id) return problem(response, 404, 'not_found', 'Gone.');
  if (file === 'init-0.mp4') return response.end(rendition.init);
  const [, msn, part] = file.match(/-(\d+)(?:\.(\d+))?\.m4s$/) ?? [];
  if (part !== undefined) await rendition.until(Number(msn), Number(part));
  const segment = rendition.segments.find((item) => item.msn === Number(msn));
  if (!segment) return problem(response, 404, 'not_found', 'Gone.');
  response.end(part === undefined ? Buffer.concat(segment.parts.map((item) => item.body)) : segment.parts[Number(part)]?.body);
}

async function control(response, url, [, name, what]) {
  if (name === 'manage') {
    if (what === 'empty') (removed = [...channels]), channels.clear();
    else removed.splice(0).forEach(([key, channel]) => channels.set(key, channel));
    return response.end('ok\n');
  }
  if (!channels.has(name)) addChannel(name, {});
  if (what === 'remove') channels.delete(name);
  else if (what === 'health') channels.get(name).health = url.searchParams.get('is');
  else if (what === 'notice') {
    const text = url.searchParams.get('text');
    channels.get(name).view.notices = text ? [{ code: 'rung_dropped', severity: url.searchParams.get('severity') ?? 'warning', text }] : [];
    changed(name);
  } else if (what === 'title') {
    channels.get(name).view.title = url.searchParams.get('text');
    changed(name);
  } else await setState(name, what);
  response.end('ok\n');
}

async function page(response, pathname) {
  const file = normalize(join(dist, pathname));
  const isFile = file.startsWith(dist) && extname(file) !== '';
  try {
    const body = await readFile(isFile ? file : join(dist, 'index.html'));
    response.writeHead(200, { 'content-type': MIME[extname(isFile ? file : '.html')] ?? MIME['.html'], ...(pathname.startsWith('/assets/') && { 'cache-control': 'public, max-age=31536000, immutable' }) });
    response.end(body);
  } catch {
    problem(response, 404, 'not_found', 'No such page.');
  }
}

/** What a link is told whose token has this name; any other token opens everything. */
const LINKS = { expired: [401, 'token_expired'], early: [401, 'token_not_yet'], elsewhere: [403, 'token_ip'], other: [403, 'token_path'], changed: [401, 'token_signature'], cut: [401, 'token_malformed'] };

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://mock');
  const [, token, behind] = /^\/t\/([^/]+)(\/.*)/.exec(url.pathname) ?? [];
  if (token) {
    url.pathname = behind;
    const refusal = LINKS[token];
    if (refusal && /^\/(api|live)\//.test(behind)) return problem(response, ...refusal, 'The link opens nothing.');
  }
  const path = url.pathname.split('/').slice(1).map(decodeURIComponent);
  if (path[0] === 'mock' && request.method === 'POST') return control(response, url, path);
  if (url.pathname.startsWith('/api/v1/') && (await management.answer(request, response, url, path))) return;
  if (url.pathname === '/api/v1/live') return events(request, response, url);
  if (url.pathname === '/readyz') return response.end('ready\n');
  if (url.pathname === '/api/v1/time') return response.end(new Date().toISOString());
  if (url.pathname === '/api/v1/channels') return response.end(JSON.stringify({ data: [...channels.values()].map((channel) => channel.view) }));
  if (url.pathname.startsWith('/api/v1/channels/')) {
    const channel = channels.get(path[3]);
    return channel ? response.end(JSON.stringify(channel.view)) : problem(response, 404, 'channel_not_found', `There is no channel called ${path[3]}.`);
  }
  if (path[0] === 'live') return live(response, url, path);
  return page(response, url.pathname);
});

prepareMedia();
addChannel('demo', { title: 'Harbour camera, facing east', viewers: 128 });
if (!process.argv.includes('--empty')) {
  const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
  addChannel('night-market', { state: 'live', title: 'Night market walk', viewers: 2_314, started_at: ago(74), stream_id: 'x1', thumbnail: '/live/demo/thumbnail.jpg?v=1' });
  addChannel('workshop', { state: 'starting', title: 'Workshop: packaging live video', viewers: 3, started_at: ago(0), stream_id: 'x2' });
  addChannel('radio', { state: 'reconnecting', title: null, viewers: 41, started_at: ago(12), stream_id: 'x3', thumbnail: '/live/demo/thumbnail.jpg?v=0' });
  addChannel('studio-b', {});
  addChannel('town-hall', { state: 'ended', title: 'Town hall, November' });
}
management.seed();
if (!process.argv.includes('--idle')) setState('demo', 'live');
server.listen(port, '127.0.0.1', () => process.stdout.write(`mock on http://127.0.0.1:${port}/\n`));
const quit = () => (channels.forEach((channel) => channel.broadcast?.stop()), process.exit(0));
process.on('SIGINT', quit);
process.on('SIGTERM', quit);
