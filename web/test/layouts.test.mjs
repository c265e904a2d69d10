// Typing text on a keyboard layout.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { layoutFaults, layoutNames, likelyLayout, strokesFor } from '../src/vnc/layouts.js';

/** `S+KeyA A+KeyQ Space` for short. */
const short = (text, layout) =>
  strokesFor(text, layout).strokes.map((s) => `${s.shift ? 'S+' : ''}${s.altgr ? 'A+' : ''}${s.code ?? s.character}`).join(' ');

test('rows fit the keyboard', () => assert.deepEqual(layoutFaults(), []));

test('every layout types printable ASCII', () => {
  const ascii = Array.from({ length: 95 }, (_, n) => String.fromCharCode(32 + n)).join('');
  const gaps = Object.fromEntries(layoutNames().map(([id]) => [id, strokesFor(ascii, id).missing.join('')]));
  const none = Object.fromEntries(layoutNames().map(([id]) => [id, '']));
  assert.deepEqual(gaps, none);
});

test('the same text on different keyboards', () => {
  const cases = [
    ['us', 'aA@~\n\t ', 'KeyA S+KeyA S+Digit2 S+Backquote Enter Tab Space'],
    ['gb', '@"#~\\|', 'S+Quote S+Digit2 Backslash S+Backslash IntlBackslash S+IntlBackslash'],
    ['de', 'zy@|{~ß', 'KeyY KeyZ A+KeyQ A+IntlBackslash A+Digit7 A+BracketRight Minus'],
    ['de', '^`', 'Backquote Space S+Equal Space'],
    ['de', 'éÀ', 'Equal KeyE S+Equal S+KeyA'],
    ['fr', 'aq1é@ê', 'KeyQ KeyA S+Digit1 Digit2 A+Digit0 BracketLeft KeyE'],
    ['ch', '~', 'A+Equal Space'],
    ['es', 'ñ\\', 'Semicolon A+Backquote'],
  ];
  for (const [layout, text, expected] of cases) assert.equal(short(text, layout), expected, `${layout} ${text}`);
});

test('line ends, missing characters, and typing by character', () => {
  assert.equal(short('a\r\nb\rc', 'us'), 'KeyA Enter KeyB Enter KeyC');
  assert.deepEqual(strokesFor('a\u6f22\u6f22\u0007', 'us').missing, ['\u6f22', '\u0007']);
  assert.equal(short('A\u6f22\n', null), 'A \u6f22 Enter');
  assert.deepEqual(strokesFor('\u0007', null).missing, ['\u0007']);
});

test('the browser\'s language picks a layout', () => {
  const cases = [[['en-US'], 'us'], [['en-GB', 'en'], 'gb'], [['de-CH'], 'ch'], [['de'], 'de'], [['sv-SE'], 'se'], [['xx', 'fr'], 'fr'], [[], 'us']];
  for (const [languages, layout] of cases) assert.equal(likelyLayout(languages), layout);
});
