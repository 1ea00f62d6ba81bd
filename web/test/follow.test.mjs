// Server-sent events from arbitrary pieces of text, and a stream that breaks.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { close, load } from './modules.mjs';

const { MessageReader, follow } = await load('/src/lib/follow.ts');
after(close);

const stream = ': hello\n\nid: 7\nevent: stats\ndata: {"a":\ndata: 1}\n\nretry: 5\n\ndata:x\r\n\r\n';
const expected = [{ event: 'stats', data: '{"a":\n1}', id: '7' }, { event: 'message', data: 'x', id: null }];

for (const size of [1, 2, 7, stream.length]) {
  test(`in pieces of ${size}`, () => {
    const reader = new MessageReader();
    const found = [];
    for (let at = 0; at < stream.length; at += size) found.push(...reader.push(stream.slice(at, at + size)));
    assert.deepEqual(found, expected);
  });
}

test('an event without an end is refused', () => {
  const reader = new MessageReader();
  assert.throws(() => {
    for (let megabytes = 0; megabytes < 8; megabytes += 1) reader.push('x'.repeat(1024 * 1024));
  });
});

test('goes on after the last event, then hears why it is over', async () => {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push([request.headers.authorization, request.headers['last-event-id']]);
    if (asked.length === 2) {
      response.writeHead(404, { 'content-type': 'application/problem+json' });
      return response.end(JSON.stringify({ status: 404, code: 'stream_not_found', detail: 'It is over.' }));
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end('id: 41\nevent: stats\ndata: {"viewers":3}\n\n');
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const heard = [];
  const problem = await new Promise((closed) => {
    follow(`http://127.0.0.1:${server.address().port}/`, 'twa_x', { message: (event, data) => heard.push([event, data]), connection: (state) => heard.push(state), closed });
  });
  server.close();
  assert.deepEqual(asked, [['Bearer twa_x', undefined], ['Bearer twa_x', '41']]);
  assert.deepEqual(heard, ['connecting', 'open', ['stats', { viewers: 3 }], 'lost']);
  assert.equal(problem.detail, 'It is over.');
});
