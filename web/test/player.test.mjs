import assert from 'node:assert/strict';
import test from 'node:test';

import { parseCast } from '../src/player/cast.js';
import { Clock, cutWaits, due, shown } from '../src/player/clock.js';
import { parseFbs, suitsNovnc } from '../src/player/fbs.js';

const bytes = (text) => new TextEncoder().encode(text);

test('a cast gives the bytes that went over the line', () => {
  const text = '{"version": 2, "width": 80, "height": 24, "title": "bm1"}\n'
    + '[0.5, "o", "gr\u00fcn\\u001b[0m"]\n[0.6, "i", "x"]\n[1.5, "o", "a\ufffd"]\n[1.5, "b", "Yf8="]\n[2, "o", "cut';
  const { width, height, title, events } = parseCast(bytes(text));
  assert.deepEqual([width, height, title], [80, 24, 'bm1']);
  assert.deepEqual(events.map((event) => [event.at, [...event.bytes]]), [
    [500, [...bytes('gr\u00fcn\u001b[0m')]],
    [1500, [0x61, 0xff]],
  ]);
  assert.throws(() => parseCast(bytes('{"version": 3}\n')));
  assert.throws(() => parseCast(bytes('{"version": 2}\nx\n[1, "o", "a"]\n')));
});

const record = (at, data) => {
  const padded = Math.ceil(data.length / 4) * 4;
  const out = new Uint8Array(4 + padded + 4);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(data, 4);
  view.setUint32(4 + padded, at);
  return out;
};

const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

const NOVNC = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0];

const handshake = (format) => join(bytes('RFB 003.003\n'), [0, 0, 0, 1, 0, 8, 0, 4], format, [0, 0, 0, 0]);

test('an FBS recording is taken apart, and its cut off end passed over', () => {
  const file = join(bytes('FBS 001.001\n'), record(0, handshake(NOVNC)), record(258, [1, 2, 3]));
  const events = parseFbs(file);
  assert.deepEqual(events.map((event) => [event.at, event.bytes.length]), [[0, 40], [258, 3]]);
  assert.equal(parseFbs(file.subarray(0, file.length - 1)).length, 1);
  assert.throws(() => parseFbs(bytes('RFB 003.003\n')));
});

test('only pixels as noVNC has them are shown', () => {
  const events = (format) => parseFbs(join(bytes('FBS 001.001\n'), record(0, handshake(format))));
  assert.ok(suitsNovnc(events(NOVNC)));
  assert.ok(!suitsNovnc(events([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0])));
  assert.ok(!suitsNovnc(events(NOVNC), '{"at":1,"offset":2,"pixel_format":"08"}'));
  assert.ok(!suitsNovnc([]));
});

test('the clock runs, stands still and jumps', () => {
  const clock = new Clock(10_000);
  assert.equal(clock.at(5), 0);
  clock.run(true, 1000);
  assert.equal(clock.at(3000), 2000);
  clock.setSpeed(4, 3000);
  assert.equal(clock.at(4000), 6000);
  clock.run(false, 4000);
  assert.equal(clock.at(9000), 6000);
  clock.jump(-5, 9000);
  assert.equal(clock.at(9000), 0);
  clock.run(true, 9000);
  assert.equal(clock.at(99_000), 10_000, 'no further than the end');
});

test('waits are cut and events found', () => {
  const events = [0, 1000, 60_000, 61_000].map((at) => ({ at }));
  assert.deepEqual(cutWaits(events).map((event) => event.at), [0, 1000, 3000, 4000]);
  assert.deepEqual([-1, 0, 999, 1000, 1e9].map((at) => due(events, at)), [0, 1, 1, 2, 4]);
  assert.deepEqual([0, 61_000, 3_723_000].map(shown), ['0:00', '1:01', '1:02:03']);
});
