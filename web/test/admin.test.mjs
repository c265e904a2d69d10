// The operator's page: numbers, rates, order.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bytes, duration, number, rate } from '../src/admin/format.js';
import { Rates } from '../src/admin/rates.js';
import { arrange } from '../src/admin/rows.js';

test('numbers are read at a glance', () => {
  const cases = [[0, '0 B'], [999, '999 B'], [999.6, '1.0 kB'], [1234, '1.2 kB'], [12_345, '12 kB'], [999_600, '1.0 MB'], [5e15, '5.0 PB'], [undefined, '0 B'], [-1, '0 B']];
  for (const [count, text] of cases) assert.equal(bytes(count), text, `${count}`);
  assert.deepEqual([rate(0), rate(0.4), rate(2_500_000)], ['', '', '2.5 MB/s']);
  assert.deepEqual([number(7), number(8000), number(1234567)], ['7', '8,000', '1,234,567']);
  const seconds = (n) => duration(n * 1000);
  assert.deepEqual([4, 61, 3599, 3660, 86_400 * 2 + 4 * 3600, -5].map(seconds), ['4 s', '1 min', '59 min', '1 h 01', '2 d 4 h', '0 s']);
});

test('a rate is what moved between two looks, smoothed', () => {
  const rates = new Rates();
  const look = (id, toViewer, now) => rates.take([{ id, bytes_to_viewer: toViewer, bytes_to_target: 5 }], now)[0];
  assert.deepEqual([look('a', 1000, 0).down, look('a', 1000, 0).total], [0, 1005], 'one look tells no rate');
  assert.equal(look('a', 3000, 2000).down, 1000);
  const slower = look('a', 3000, 4000).down;
  assert.ok(slower > 0 && slower < 1000, `${slower}`);
  assert.ok(look('a', 3000, 4000).down === slower, 'a second look at the same moment changes nothing');
  assert.equal(look('a', 10, 6000).up, 0);
  assert.ok(look('a', 10, 8000).down >= 0, 'a counter that went back is no negative rate');
  look('b', 0, 9000);
  assert.equal(rates.take([{ id: 'b', bytes_to_viewer: 0, rate_to_viewer: 77 }], 9500)[0].down, 77, 'a proxy knows better');
  assert.equal(rates.known.size, 1, 'what is gone is forgotten');
});

test('rows are found by every word, and stay in order', () => {
  const rows = [
    { id: '3', name: 'db', user: 'Ann', down: 5 },
    { id: '1', name: 'web', user: 'bob', down: 5 },
    { id: '2', name: 'web', user: 'ann', down: 70 },
  ];
  const ids = (how) => arrange(rows, { text: '', fields: ['id', 'name', 'user'], by: 'down', down: true, ...how }).map((row) => row.id);
  assert.deepEqual(ids({}), ['2', '1', '3']);
  assert.deepEqual(ids({ down: false }), ['1', '3', '2']);
  assert.deepEqual(ids({ text: ' WEB  ann' }), ['2']);
  assert.deepEqual(ids({ text: 'nobody' }), []);
  assert.deepEqual(ids({ by: 'name', down: false }), ['3', '1', '2']);
  assert.equal(rows[0].id, '3', 'the list itself is not touched');
});
