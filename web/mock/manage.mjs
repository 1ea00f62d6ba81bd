// The management API of the mock: everything in memory, nothing is checked as the server checks it. Tokens:
// `twa_mock` may do everything, `twa_read` may look, any other is refused.
// `POST /mock/CHANNEL/health?is=good|keyframes|unsteady|slow|silent` picks what the pretend encoder does;
// `POST /mock/manage/empty|full` takes all channels away or brings them back.
import { RUNGS } from './broadcast.mjs';

const HISTORY_S = 120;
const TOKENS = { twa_mock: ['read', 'publish', 'admin'], twa_read: ['read'] };
let serial = 0;
const newId = (prefix) => `${prefix}_${(Date.now() + (serial += 1)).toString(36)}${Math.random().toString(36).slice(2, 14)}`;
const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
const secret = (prefix) => prefix + Array.from({ length: 32 }, () => 'abcdefghijklmnopqrstuvwxyz234567'[Math.floor(Math.random() * 32)]).join('');
/** The same wave for everybody, so that history and live join without a step. */
const wave = (second, period, phase = 0) => Math.sin((second / period) * 2 * Math.PI + phase);
const noise = (second, salt) => (Math.abs(Math.sin(second * 12.9898 + salt * 78.233) * 43758.5453) % 1) - 0.5;

export class Management {
  constructor({ channels, addChannel, changed, problem, setState }) {
    Object.assign(this, { channels, addChannel, changed, problem, setState });
    this.ids = new Map();
    this.keys = new Map();
    this.events = [];
    this.listeners = new Set();
    this.tokens = [
      { id: newId('tok'), label: 'Ana’s laptop', prefix: 'twa_m3k9', scopes: TOKENS.twa_mock, created_at: ago(40_000), expires_at: null, revoked_at: null },
      { id: newId('tok'), label: 'Wall display', prefix: 'twa_q7ze', scopes: ['read'], created_at: ago(9_000), expires_at: new Date(Date.now() + 12 * 86_400_000).toISOString(), revoked_at: null },
      { id: newId('tok'), label: 'Scheduler', prefix: 'twa_a2bd', scopes: ['read', 'publish'], created_at: ago(90_000), expires_at: ago(600), revoked_at: null },
    ];
    this.webhooks = [
      { id: newId('wh'), url: 'https://hooks.example.org/tidewire', label: 'Announcements', events: ['stream.live', 'stream.ended'], enabled: true, created_at: ago(20_000), failing_since: null },
      { id: newId('wh'), url: 'https://ops.example.org/alerts', label: 'Alerts', events: ['health.changed', 'stream.failed'], enabled: true, created_at: ago(8_000), failing_since: ago(76) },
      { id: newId('wh'), url: 'https://old.example.org/in', label: 'Old archive', events: [], enabled: false, created_at: ago(80_000), failing_since: null },
    ];
    this.deliveries = new Map(this.webhooks.map((hook, index) => [hook.id, Array.from({ length: index === 2 ? 0 : 9 }, (_, row) => {
      const failed = index === 1 && row < 3;
      return { id: newId('del'), event_id: newId('evt'), type: hook.events[row % hook.events.length], state: !failed ? 'delivered' : row === 2 ? 'failed' : 'pending', attempt: failed ? 4 - row : 1, status: failed ? (row === 1 ? null : 503) : 200, error: failed ? (row === 1 ? 'no answer within 15 s' : 'answered 503 Service Unavailable') : null, at: ago(row * 37 + 2), duration_ms: failed ? (row === 1 ? 15_000 : 210) : 84 + row * 7 };
    })]));
    this.past = [
      { id: newId('st'), channel: 'town-hall', state: 'ended', started_at: ago(190), ended_at: ago(96), reason: null, source: { codecs: 'avc1.640028,mp4a.40.2', width: 1920, height: 1080, frame_rate: 30 }, publisher: { protocol: 'rtmp', encoder: 'obs-output module (libobs version 31.0.2)', address: null } },
      { id: newId('st'), channel: 'demo', state: 'failed', started_at: ago(2_900), ended_at: ago(2_898), reason: 'the disk is full', source: { codecs: null, width: null, height: null, frame_rate: null }, publisher: { protocol: 'rtmp', encoder: 'Lavf61.7.100', address: null } },
      { id: newId('st'), channel: 'studio-b', state: 'failed', started_at: ago(31), ended_at: ago(9), reason: 'the disk is full', source: { codecs: null, width: null, height: null, frame_rate: null }, publisher: { protocol: 'rtmp', encoder: 'Lavf61.7.100', address: null } },
    ];
  }

  /** Gives every channel that the mock began with its keys and its past. */
  seed() {
    const lines = [['publisher.connected', 75], ['stream.started', 75], ['stream.live', 74], ['rendition.added', 74], ['health.changed', 31], ['key.created', 30], ['stream.reconnecting', 12], ['publisher.disconnected', 12], ['channel.changed', 9], ['stream.live', 4]];
    for (const name of this.channels.keys()) this.adopt(name);
    lines.forEach(([type, minutes], index) => {
      const name = [...this.channels.keys()][(index * 2) % 4];
      const data = type === 'health.changed' ? { notices: [{ code: 'keyframes_apart', severity: 'warning', text: 'Your encoder sends a keyframe every 8 s; set 2 s.' }] } : type === 'rendition.added' ? { name: '480p', width: 854, height: 480 } : {};
      this.events.push({ id: newId('evt'), type, at: ago(minutes), channel: name, channel_id: this.ids.get(name).id, stream_id: type.startsWith('stream') ? this.channels.get(name)?.view.stream_id ?? null : null, data });
    });
  }

  adopt(name) {
    if (this.ids.has(name)) return;
    this.ids.set(name, { id: newId('ch'), private: name === 'studio-b', created_at: ago(60_000 + this.ids.size * 4_000) });
    this.keys.set(name, [
      { id: newId('key'), prefix: 'tw_k4mq', label: 'Main encoder', created_at: ago(50_000), expires_at: null, revoked_at: null, used_at: ago(2) },
      { id: newId('key'), prefix: 'tw_9xhd', label: 'Backup laptop', created_at: ago(30_000), expires_at: new Date(Date.now() + 20 * 3_600_000).toISOString(), revoked_at: null, used_at: null },
      { id: newId('key'), prefix: 'tw_p2zr', label: 'Guest, October', created_at: ago(60_000), expires_at: null, revoked_at: ago(33_000), used_at: ago(40_000) },
    ]);
  }

  emit(type, channel, data = {}) {
    const event = { id: newId('evt'), type, at: new Date().toISOString(), channel, channel_id: this.ids.get(channel)?.id ?? null, stream_id: this.channels.get(channel)?.view.stream_id ?? null, data };
    this.events.push(event);
    for (const { response, matches } of this.listeners) if (matches(event)) response.write(`id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  }

  managed(name) {
    this.adopt(name);
    const { id, private: isPrivate, created_at } = this.ids.get(name);
    return { id, name, private: isPrivate, created_at, channel: this.channels.get(name).view };
  }

  stats(name, at = Date.now()) {
    const channel = this.channels.get(name);
    const health = channel.health ?? 'good';
    const second = Math.floor(at / 1000);
    const wobble = 1 + 0.02 * wave(second, 17) + 0.02 * noise(second, 1);
    const share = health === 'silent' ? 0 : health === 'unsteady' ? Math.max(0.12, 0.6 + 1.1 * noise(second, 4)) : wobble;
    const notices = { keyframes: [{ code: 'keyframes_apart', severity: 'warning', text: 'Your encoder sends a keyframe every 8.3 s; set its keyframe interval to 2 s.' }], slow: [{ code: 'rungs_dropped', severity: 'warning', text: 'Quality 720p was dropped: this server’s encoder is busy.' }] }[health] ?? [];
    return {
      at: new Date(at).toISOString(), ingest_bitrate: Math.round(6_100_000 * share), frame_rate: health === 'silent' ? 0 : 30 + (health === 'unsteady' ? 6 * noise(second, 2) - 2 : 0.04 * noise(second, 2)),
      gop_ms: health === 'keyframes' ? 8_300 : 2_000, clock_drift_ms: Math.round(10 * (6 * wave(second, 90) + 1.5 * noise(second, 3))) / 10, audio_drift_ms: Math.round(10 * (3 * wave(second, 60, 2) + noise(second, 5))) / 10,
      repairs: Math.floor((second % 3600) / 470) + (health === 'unsteady' ? Math.floor(second / 3) % 1000 : 0), discontinuities: 0, viewers: channel.view.viewers + Math.round(3 * wave(second, 40)),
      encoder: { running: true, speed: health === 'slow' ? 0.91 : 1.0 + 0.004 * noise(second, 6), lag_ms: health === 'slow' ? 2_400 : 180, restarts: 0 },
      renditions: RUNGS.map((rung) => ({ name: rung.name, bitrate: rung.name === 'source' ? Math.round(6_100_000 * share) : Math.round(rung.bitrate * (0.96 + 0.05 * noise(second, rung.height))), target_bitrate: rung.name === 'source' ? null : rung.bitrate, width: rung.name === 'source' ? 1920 : rung.width, height: rung.name === 'source' ? 1080 : rung.height, frame_rate: 30 })),
      notices: [...channel.view.notices, ...notices],
    };
  }

  streams() {
    const source = { codecs: 'avc1.640028,mp4a.40.2', width: 1920, height: 1080, frame_rate: 30 };
    const running = [...this.channels].filter(([, { view }]) => view.stream_id && view.state !== 'ended').map(([name, { view }]) => ({ id: view.stream_id, channel: name, state: view.state, started_at: view.started_at, ended_at: null, reason: null, source, publisher: { protocol: 'rtmp', encoder: 'obs-output module (libobs version 31.0.2)', address: '192.0.2.14' } }));
    return [...running, ...this.past];
  }

  /** Answers what is below `/api/v1` for an operator; false when the path is none of it. */
  async answer(request, response, url, path) {
    const [area, ...rest] = path.slice(2);
    if (!['me', 'manage', 'streams', 'tokens', 'webhooks', 'events', 'stream'].includes(area)) return false;
    const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    const scopes = TOKENS[token];
    if (!scopes) return this.problem(response, 401, token ? 'token_refused' : 'token_missing', token ? 'This token is not known here, or it expired or was revoked. Make one with `tidewire token admin`.' : 'Send an admin token as `Authorization: Bearer twa_...`.'), true;
    const { method } = request;
    if (method !== 'GET' && !scopes.includes('admin')) return this.problem(response, 403, 'scope_missing', 'This token has the scopes read; this call needs admin.'), true;
    let body = '';
    for await (const chunk of request) body += chunk;
    const call = { method, url, rest, response, request, body: body ? JSON.parse(body) : {} };
    const list = (data) => this.json(response, 200, { data, next: null });
    if (area === 'me') this.json(response, 200, { token: { id: this.tokens[0].id, prefix: 'twa_m3k9', label: scopes.length > 1 ? 'Ana’s laptop' : 'Wall display', scopes, created_at: ago(40_000), expires_at: null, revoked_at: null }, server: { version: '0.1.0 (mock)', http: 'http://127.0.0.1:8080', rtmp: 'rtmp://127.0.0.1:1935/live', rtmps: null, srt: null } });
    else if (area === 'manage') this.manageChannels(call, list);
    else if (area === 'streams') this.manageStreams(call, list);
    else if (area === 'tokens') this.manageTokens(call, list);
    else if (area === 'webhooks') this.manageWebhooks(call, list);
    else if (area === 'events') this.manageEvents(call, list);
    else this.start(call);
    return true;
  }

  json(response, status, value) {
    response.writeHead(status, { 'content-type': 'application/json' }).end(value === undefined ? undefined : JSON.stringify(value));
  }

  newKey(label, expires) {
    const key = secret('tw_');
    return { shown: { id: newId('key'), prefix: key.slice(0, 7), label, created_at: new Date().toISOString(), expires_at: expires ?? null, revoked_at: null, used_at: null }, stream_key: key };
  }

  manageChannels({ method, rest: [, name, what, id, verb], response, body }, list) {
    if (name === undefined && method === 'GET') return list([...this.channels.keys()].map((item) => this.managed(item)));
    if (name === undefined) {
      if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(body.name ?? '')) return this.problem(response, 422, 'channel_name', `"${body.name}" is no channel name: use 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit.`);
      if (this.channels.has(body.name)) return this.problem(response, 409, 'channel_exists', `There is a channel called ${body.name} already.`);
      this.addChannel(body.name, {});
      this.ids.set(body.name, { id: newId('ch'), private: body.private === true, created_at: new Date().toISOString() });
      const key = this.newKey('first', null);
      this.keys.set(body.name, [key.shown]);
      this.emit('channel.created', body.name);
      return this.json(response, 201, { channel: this.managed(body.name), key: { ...key.shown, stream_key: key.stream_key } });
    }
    if (!this.channels.has(name)) return this.problem(response, 404, 'channel_not_found', `There is no channel called ${name}.`);
    this.adopt(name);
    const keys = this.keys.get(name);
    if (what === undefined && method === 'DELETE') return this.channels.delete(name), this.emit('channel.removed', name), response.writeHead(204).end();
    if (what === undefined) {
      if (method === 'PATCH') (this.ids.get(name).private = body.private === true), this.emit('channel.changed', name);
      return this.json(response, 200, this.managed(name));
    }
    if (method === 'GET') return list(keys);
    const key = keys.find((item) => item.id === id);
    if (method === 'DELETE' && key) return (key.revoked_at = new Date().toISOString()), this.emit('key.revoked', name), response.writeHead(204).end();
    const made = this.newKey(verb === 'rotate' ? key.label : body.label, verb === 'rotate' ? null : body.expires_at);
    if (verb === 'rotate') key.expires_at = new Date(Date.now() + (body.overlap_s ?? 86_400) * 1000).toISOString();
    keys.unshift(made.shown);
    this.emit('key.created', name);
    this.json(response, 201, { ...made.shown, stream_key: made.stream_key });
  }

  manageStreams({ method, rest: [id, what, live], request, response, url }, list) {
    const only = url.searchParams.get('channel');
    if (id === undefined) return list(this.streams().filter((stream) => !only || stream.channel === only));
    const stream = this.streams().find((item) => item.id === id);
    if (!stream) return this.problem(response, 404, 'stream_not_found', `There is no stream ${id}.`);
    if (what === 'stop' && method === 'POST') {
      this.setState(stream.channel, 'ended');
      this.emit('stream.ended', stream.channel);
      return response.writeHead(202).end();
    }
    if (what !== 'stats') return this.json(response, 200, stream);
    if (live === undefined) return this.json(response, 200, this.stats(stream.channel));
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    const send = (event, data) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    const now = Date.now();
    const age = Math.min(HISTORY_S, Math.floor((now - Date.parse(stream.started_at)) / 1000) + HISTORY_S);
    send('history', Array.from({ length: age }, (_, index) => this.stats(stream.channel, now - (age - index) * 1000)));
    const timer = setInterval(() => (this.channels.get(stream.channel)?.view.stream_id === id ? send('stats', this.stats(stream.channel)) : response.end()), 1000);
    request.on('close', () => clearInterval(timer));
  }

  manageTokens({ method, rest: [id], response, body }, list) {
    if (method === 'GET') return list(this.tokens);
    if (method === 'DELETE') {
      const token = this.tokens.find((item) => item.id === id);
      if (token) token.revoked_at = new Date().toISOString();
      return response.writeHead(204).end();
    }
    const token = { id: newId('tok'), prefix: 'twa_n5wx', label: body.label, scopes: body.scopes, created_at: new Date().toISOString(), expires_at: body.expires_at ?? null, revoked_at: null };
    this.tokens.unshift(token);
    this.json(response, 201, { ...token, token: secret('twa_') });
  }

  manageWebhooks({ method, rest: [id, what, delivery], response, body }, list) {
    if (id === undefined && method === 'GET') return list(this.webhooks);
    if (id === undefined) {
      if (!/^https?:\/\//.test(body.url)) return this.problem(response, 422, 'webhook_url', `"${body.url}" is no address of a webhook: it begins with https:// (or http:// on your own network).`);
      const hook = { id: newId('wh'), url: body.url, label: body.label ?? '', events: body.events, enabled: true, created_at: new Date().toISOString(), failing_since: null };
      this.webhooks.unshift(hook);
      this.deliveries.set(hook.id, []);
      return this.json(response, 201, { ...hook, secret: secret('whsec_') });
    }
    const hook = this.webhooks.find((item) => item.id === id);
    if (!hook) return this.problem(response, 404, 'webhook_not_found', `There is no webhook ${id}.`);
    if (what === 'deliveries' && method === 'GET') return list(this.deliveries.get(id));
    if (what === 'deliveries') {
      const old = this.deliveries.get(id).find((item) => item.id === delivery);
      this.deliveries.get(id).unshift({ ...old, id: newId('del'), state: 'delivered', attempt: 1, status: 200, error: null, at: new Date().toISOString(), duration_ms: 91 });
      return response.writeHead(202).end();
    }
    if (method === 'DELETE') return (this.webhooks = this.webhooks.filter((item) => item !== hook)), response.writeHead(204).end();
    if (method === 'PATCH') Object.assign(hook, body);
    this.json(response, 200, hook);
  }

  manageEvents({ request, response, url }, list) {
    const [type, channel] = ['type', 'channel'].map((name) => url.searchParams.get(name));
    const matches = (event) => (!type || event.type === type) && (!channel || event.channel === channel);
    if (!(request.headers.accept ?? '').includes('text/event-stream')) {
      const found = this.events.filter(matches);
      return list(url.searchParams.get('order') === 'desc' ? found.reverse() : found);
    }
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(': hello\n\n');
    const listener = { response, matches };
    this.listeners.add(listener);
    request.on('close', () => this.listeners.delete(listener));
  }

  start({ response, body }) {
    const key = String(body.stream_key ?? '');
    if (!/^tw_[a-z2-7]{32}$/.test(key)) return this.problem(response, 403, 'key_refused', 'This is not a stream key: a key is `tw_` and 32 letters and digits.');
    this.json(response, 200, { channel: [...this.channels.keys()][0], publish_url: 'rtmp://127.0.0.1:1935/live', stream_id: null, hls: '/live/demo/master.m3u8', dash: '/live/demo/manifest.mpd', state: 'offline' });
  }
}
