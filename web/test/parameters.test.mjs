// noVNC's parameters, as it reads them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Parameters } from '../src/common/parameters.js';

test('fragment over query, last over first, bounds, unknown values', () => {
  const p = new Parameters('https://h/vnc.html?quality=3&token=A&token=B&view_only&bell=off&resize=SCALE&compression=99#quality=7');
  assert.equal(p.text('token'), 'B');
  assert.equal(p.integer('quality', 0, 9), 7);
  assert.equal(p.integer('compression', 0, 9), 9);
  assert.equal(p.integer('absent', 0, 9), null);
  assert.equal(p.flag('view_only', false), true);
  assert.equal(p.flag('bell', true), false);
  assert.equal(p.flag('absent', true), true);
  assert.equal(p.choice('resize', ['scale', 'off']), 'scale');
  assert.equal(p.choice('quality', ['scale', 'off']), null);
  for (const bad of ['-1', '1.5', 'x', '', '1e3', '99999999999']) {
    assert.equal(new Parameters(`https://h/?q=${bad}`).integer('q', 0, 9), null, bad);
  }
});
