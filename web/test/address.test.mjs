// Where the page connects: prefixes, noVNC's path, and paths that lead elsewhere.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ForeignPath, consoleAddress, withoutSecrets } from '../src/common/address.js';

const address = (page, link, extra) => consoleAddress(page, link, extra).href;

test('the directory of the page, with the token', () => {
  const cases = [
    ['https://h/vnc/zone.region/vnc_auto.html?token=T&compression=9', { token: 'T' }, 'wss://h/vnc/zone.region/?token=T'],
    ['https://h/vnc.html', { token: 'a b&c' }, 'wss://h/?token=a+b%26c'],
    ['http://127.0.0.1:6080/serial/pod.region/', { token: 'T' }, 'ws://127.0.0.1:6080/serial/pod.region/?token=T'],
    ['https://h//elsewhere.example/vnc.html#x', { token: 'T' }, 'wss://h//elsewhere.example/?token=T'],
    ['https://h/vnc_lite.html?title=x', { path: '?token=T' }, 'wss://h/?token=T'],
    ['https://h/p/vnc_lite.html', { path: 'websockify?token=T' }, 'wss://h/p/websockify?token=T'],
    ['https://h/p/vnc_lite.html', { path: '/top?token=T' }, 'wss://h/top?token=T'],
    ['https://h/p/vnc.html', { path: 'websockify', token: 'T' }, 'wss://h/p/websockify?token=T'],
    ['https://h/p/vnc.html', { path: '?token=P', token: 'T' }, 'wss://h/p/?token=P'],
    ['https://h/vnc.html', { path: 'https://h/x?token=T#f' }, 'wss://h/x?token=T'],
  ];
  for (const [page, link, expected] of cases) assert.equal(address(page, link), expected, page);
  assert.equal(address('https://h/s/', { token: 'T' }, { console: 'serial' }), 'wss://h/s/?token=T&console=serial');
});

test('never another origin', () => {
  const paths = [
    '//evil.example/?token=T', 'https://evil.example/', 'http://h/', 'https://h:444/', '\\\\evil.example\\x',
    '/\\evil.example', '\t//evil.example', 'wss://h/', 'javascript:alert(1)', 'blob:https://h/x', 'data:,x',
    'https:\\\\evil.example', 'https://h@evil.example/', 'https://[', 'file:///etc/passwd',
  ];
  for (const path of paths) assert.throws(() => address('https://h/vnc.html', { path }), ForeignPath, path);
  assert.equal(address('https://h/vnc.html', { path: '//user:word@h/?token=T' }), 'wss://h/?token=T');
});

test('the address bar keeps nothing that opens the console', () => {
  const cases = [
    ['https://h/vnc_auto.html?token=T&compression=9', false, 'https://h/vnc_auto.html?compression=9'],
    ['https://h/vnc_lite.html?path=%3Ftoken%3DT&title=a', false, 'https://h/vnc_lite.html?title=a'],
    ['https://h/vnc.html#token=T&quality=3', false, 'https://h/vnc.html#quality=3'],
    ['https://h/vnc.html#place', false, 'https://h/vnc.html#place'],
    ['https://h/s/?token=T', true, 'https://h/s/?token='],
    ['https://h/s/?token=', true, 'https://h/s/?token='],
    ['https://h//x/vnc.html?token=T', false, 'https://h//x/vnc.html'],
  ];
  for (const [page, keep, expected] of cases) assert.equal(withoutSecrets(page, keep), expected, page);
});
