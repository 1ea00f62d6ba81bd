// A pretend broadcast for working on the pages without the server: FFmpeg encodes a short loop once, then replays it in
// real time as fragmented MP4 on pipes; every fragment becomes one LL-HLS part. Not a packager: good enough for a player.
import { spawn, spawnSync } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const RUNGS = [
  { name: 'source', width: 1280, height: 720, bitrate: 2_500_000, codecs: 'avc1.64001f' },
  { name: '480p', width: 854, height: 480, bitrate: 1_000_000, codecs: 'avc1.64001f' },
  { name: '240p', width: 426, height: 240, bitrate: 400_000, codecs: 'avc1.640015' },
];
const SEGMENT_S = 2;
const WINDOW_SEGMENTS = 30;
const PART_TARGET_S = 0.3;

export const mediaDir = join(tmpdir(), 'tidewire-web-mock');

/** Encodes the 20 s loop of every rung and two thumbnails, once a machine. */
export function prepareMedia() {
  mkdirSync(mediaDir, { recursive: true });
  const picture =
    'gradients=s=1280x720:r=30:d=20:n=4:c0=0x06262b:c1=0x0f766e:c2=0x123c55:c3=0xd9a441:speed=0.012:seed=7,' +
    'format=yuv420p,drawtext=fontsize=42:fontcolor=white@0.9:x=48:y=40:text=Harbour camera,' +
    "drawtext=fontsize=42:fontcolor=white@0.9:x=w-tw-48:y=40:text='%{pts\\:hms}'";
  for (const rung of RUNGS) {
    const file = join(mediaDir, `${rung.name}.mp4`);
    if (existsSync(file)) continue;
    const args = ['-v', 'error', '-y', '-f', 'lavfi', '-i', picture];
    if (rung.name === 'source') args.push('-f', 'lavfi', '-i', 'sine=f=330:d=20:r=48000,volume=0.1');
    args.push('-vf', `scale=${rung.width}:${rung.height},noise=alls=4:allf=t`);
    args.push('-c:v', 'libx264', '-preset', 'veryfast', '-b:v', `${rung.bitrate}`, '-maxrate', `${rung.bitrate}`);
    args.push('-bufsize', `${rung.bitrate}`, '-bf', '0', '-g', '60', '-keyint_min', '60', '-sc_threshold', '0');
    args.push('-c:a', 'aac', '-b:a', '128k', '-t', '20', file);
    const made = spawnSync('ffmpeg', args, { stdio: ['ignore', 'inherit', 'inherit'] });
    if (made.status !== 0) throw new Error(`ffmpeg could not encode ${file}`);
  }
  for (const [index, at] of [3, 11].entries()) {
    const file = join(mediaDir, `thumb-${index}.jpg`);
    if (existsSync(file)) continue;
    spawnSync('ffmpeg', ['-v', 'error', '-y', '-ss', `${at}`, '-i', join(mediaDir, 'source.mp4'), '-frames:v', '1', '-s', '480x270', file]);
  }
}

/** One rendition: init segment, segments of parts, and a wake-up for whoever waits for the next part. */
class Rendition {
  constructor(name, originMs) {
    this.name = name;
    this.originMs = originMs;
    this.init = null;
    this.segments = [];
    this.events = new EventEmitter().setMaxListeners(0);
    this.ended = false;
    this.timescale = 0;
    this.rest = Buffer.alloc(0);
    this.head = [];
    this.moof = null;
  }

  write(chunk) {
    this.rest = this.rest.length ? Buffer.concat([this.rest, chunk]) : chunk;
    while (this.rest.length >= 8) {
      const size = this.rest.readUInt32BE(0);
      if (this.rest.length < size) return;
      const box = this.rest.subarray(0, size);
      this.rest = this.rest.subarray(size);
      this.box(box.toString('latin1', 4, 8), box);
    }
  }

  box(type, box) {
    if (type === 'ftyp' || type === 'moov') {
      this.head.push(Buffer.from(box));
      if (type === 'moov') {
        const mdhd = box.indexOf('mdhd');
        this.timescale = box.readUInt32BE(mdhd + 4 + 12);
        this.init = Buffer.concat(this.head);
      }
    } else if (type === 'moof') this.moof = Buffer.from(box);
    else if (type === 'mdat' && this.moof) {
      this.part(Buffer.concat([this.moof, box]), this.moof);
      this.moof = null;
    }
  }

  part(body, moof) {
    const tfdt = moof.indexOf('tfdt');
    const version = moof[tfdt + 4];
    const start = (version ? Number(moof.readBigUInt64BE(tfdt + 8)) : moof.readUInt32BE(tfdt + 8)) / this.timescale;
    const previous = this.last;
    if (previous) {
      previous.duration = start - previous.start;
      this.append(previous);
    }
    this.last = { body, start, duration: 0 };
  }

  append(part) {
    const msn = Math.floor((part.start + 0.02) / SEGMENT_S);
    let segment = this.segments.at(-1);
    if (!segment || segment.msn !== msn) {
      if (segment) segment.complete = true;
      segment = { msn, start: part.start, parts: [], complete: false };
      this.segments.push(segment);
      if (this.segments.length > WINDOW_SEGMENTS + 1) this.segments.shift();
    }
    segment.parts.push({ ...part, independent: segment.parts.length === 0 || this.name === 'audio' });
    this.events.emit('part');
  }

  has(msn, part) {
    const last = this.segments.at(-1);
    if (!last) return false;
    if (msn < last.msn) return true;
    if (msn > last.msn) return false;
    return part === undefined ? last.complete : part < last.parts.length;
  }

  /** Resolves when (msn, part) exists, or after 5 s. */
  async until(msn, part) {
    const deadline = Date.now() + 5000;
    while (!this.has(msn, part) && !this.ended && Date.now() < deadline) {
      await new Promise((done) => {
        const timer = setTimeout(done, 1000);
        this.events.once('part', () => (clearTimeout(timer), done()));
      });
    }
  }

  playlist(others, stream) {
    const first = this.segments[0];
    const lines = ['#EXTM3U', '#EXT-X-VERSION:9', `#EXT-X-TARGETDURATION:${SEGMENT_S}`];
    lines.push('#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.9,HOLD-BACK=6.0');
    lines.push(`#EXT-X-PART-INF:PART-TARGET=${PART_TARGET_S}`, `#EXT-X-MEDIA-SEQUENCE:${first.msn}`);
    lines.push(`#EXT-X-MAP:URI="${stream}/init-0.mp4"`);
    for (const segment of this.segments) {
      lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(this.originMs + segment.start * 1000).toISOString()}`);
      if (this.segments.at(-1).msn - segment.msn < 4) {
        for (const [index, part] of segment.parts.entries()) {
          const independent = part.independent ? ',INDEPENDENT=YES' : '';
          lines.push(`#EXT-X-PART:DURATION=${part.duration.toFixed(5)},URI="${stream}/part-${segment.msn}.${index}.m4s"${independent}`);
        }
      }
      if (!segment.complete) continue;
      const duration = segment.parts.reduce((sum, part) => sum + part.duration, 0);
      lines.push(`#EXTINF:${duration.toFixed(5)},`, `${stream}/seg-${segment.msn}.m4s`);
    }
    const last = this.segments.at(-1);
    if (this.ended) lines.push('#EXT-X-ENDLIST');
    else lines.push(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${stream}/part-${last.msn}.${last.parts.length}.m4s"`);
    for (const other of others) {
      const end = other.segments.at(-1);
      if (other !== this && end) lines.push(`#EXT-X-RENDITION-REPORT:URI="../${other.name}/playlist.m3u8",LAST-MSN=${end.msn},LAST-PART=${end.parts.length - 1}`);
    }
    return lines.join('\n') + '\n';
  }
}

/** A running broadcast: renditions by name, ended by `stop`. */
export class Broadcast {
  constructor() {
    this.startedAt = new Date();
    this.id = `s${Date.now().toString(36)}`;
    const origin = Date.now();
    this.renditions = [...RUNGS.map((rung) => rung.name), 'audio'].map((name) => new Rendition(name, origin));
    const args = ['-v', 'error'];
    for (const rung of RUNGS) args.push('-re', '-stream_loop', '-1', '-i', join(mediaDir, `${rung.name}.mp4`));
    const mux = (map, fd) => ['-map', map, '-c', 'copy', '-f', 'mp4', '-movflags', 'frag_keyframe+empty_moov+default_base_moof', '-frag_duration', '240000', '-flush_packets', '1', `pipe:${fd}`];
    RUNGS.forEach((_, index) => args.push(...mux(`${index}:v:0`, 3 + index)));
    args.push(...mux('0:a:0', 3 + RUNGS.length));
    this.child = spawn('ffmpeg', args, { stdio: ['ignore', 'ignore', 'inherit', ...this.renditions.map(() => 'pipe')] });
    this.renditions.forEach((rendition, index) => this.child.stdio[3 + index].on('data', (chunk) => rendition.write(chunk)));
  }

  get ready() {
    return this.renditions.every((rendition) => rendition.segments.length > 0);
  }

  rendition(name) {
    return this.renditions.find((rendition) => rendition.name === name);
  }

  master() {
    const lines = ['#EXTM3U', '#EXT-X-VERSION:9', '#EXT-X-INDEPENDENT-SEGMENTS'];
    lines.push('#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Main",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="1",URI="audio/playlist.m3u8"');
    for (const rung of RUNGS) {
      lines.push(`#EXT-X-STREAM-INF:BANDWIDTH=${rung.bitrate + 160_000},AVERAGE-BANDWIDTH=${rung.bitrate + 128_000},CODECS="${rung.codecs},mp4a.40.2",RESOLUTION=${rung.width}x${rung.height},FRAME-RATE=30.000,AUDIO="audio"`);
      lines.push(`${rung.name}/playlist.m3u8`);
    }
    return lines.join('\n') + '\n';
  }

  end() {
    for (const rendition of this.renditions) {
      rendition.ended = true;
      const last = rendition.segments.at(-1);
      if (last) last.complete = true;
      rendition.events.emit('part');
    }
    this.stop();
  }

  stop() {
    this.child.kill('SIGKILL');
  }
}
