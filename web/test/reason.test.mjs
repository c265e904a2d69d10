// The words at the end, and when to try again.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { clean } from '../src/common/clean.js';
import { describeEnd } from '../src/common/reason.js';
import { Retry } from '../src/common/retry.js';

test('every close code has words, and the server\'s own come first', () => {
  for (let code = 1000; code <= 1015; code += 1) {
    const end = describeEnd({ code, reason: '', opened: true });
    assert.match(end.text, /\w.*\.$/, `${code}`);
    assert.match(end.detail, new RegExp(`${code}`));
    assert.equal(end.retry, !end.final);
  }
  const told = describeEnd({ code: 1008, reason: 'this link was already used', opened: true, live: false });
  assert.deepEqual([told.title, told.text, told.retry], ['Could not connect', 'This link was already used.', false]);
  assert.match(describeEnd({ code: 1006, reason: '', opened: false }).text, /could not be reached/);
  assert.match(describeEnd({ code: 1006, reason: '', opened: true }).text, /was lost/);
  assert.equal(describeEnd({ code: 4000, reason: '', opened: true }).text, 'The console server ended the connection.');
  assert.equal(describeEnd({ code: 1000, reason: '', opened: true, byUser: true }).retry, false);
});

test('hostile text is harmless', () => {
  assert.equal(clean('a\u001b[2Jb\u202ec\u0000\n', 50), 'a [2Jb c');
  assert.equal([...clean('\u{1f600}'.repeat(300), 10)].length, 10);
  assert.equal(clean(null, 5), '');
});

test('waits double up to a minute and start anew after a connection', () => {
  const retry = new Retry({ enabled: true, delay: 5000 });
  assert.equal(retry.next(true), null, 'a link that never worked');
  retry.connected();
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => retry.next(true)), [5000, 10000, 20000, 40000, 60000, 60000]);
  assert.equal(retry.next(false), null);
  retry.connected();
  assert.equal(retry.next(true), 5000);
  retry.connected();
  const waits = Array.from({ length: 25 }, () => retry.next(true));
  assert.equal(waits.filter((wait) => wait !== null).length, 20);
  const off = new Retry({ enabled: false, delay: 1 });
  off.connected();
  assert.equal(off.next(true), null);
});
