// Writes the licence notice that is served with the pages: what they contain, whose it is, where its source is.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const RULE = `\n\n${'='.repeat(78)}\n\n`;

const XTERM = ['xterm', 'addon-fit', 'addon-search', 'addon-unicode11', 'addon-web-links'];

/** @returns {Promise<{text: string, versions: {novnc: string, xterm: string, pages: string}}>} */
export async function licences(root) {
  const modules = join(root, 'node_modules');
  const read = (path) => readFile(join(modules, path), 'utf8');
  const version = async (name) => JSON.parse(await read(`${name}/package.json`)).version;

  const versions = {
    novnc: await version('@novnc/novnc'),
    xterm: await version('@xterm/xterm'),
    pages: JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).version,
  };
  const addons = [];
  for (const name of XTERM) addons.push(`@xterm/${name} ${await version(`@xterm/${name}`)}`);

  const text = [
    [
      'Third-party software in the consolegate console pages',
      '',
      `noVNC ${versions.novnc} (npm package @novnc/novnc), unmodified, Mozilla Public License 2.0.`,
      `  Source: https://github.com/novnc/noVNC/tree/v${versions.novnc}`,
      'pako (part of noVNC, vendor/pako), MIT licence; a port of zlib,',
      '  (C) 1995-2013 Jean-loup Gailly and Mark Adler, zlib licence.',
      '  Source: https://github.com/nodeca/pako',
      `xterm.js (npm packages ${addons.join(', ')}), MIT licence.`,
      '  Source: https://github.com/xtermjs/xterm.js',
      '',
      'The rest of the pages is part of consolegate, Apache License 2.0.',
    ].join('\n'),
    `noVNC: overview\n\n${await read('@novnc/novnc/LICENSE.txt')}`,
    `noVNC: Mozilla Public License 2.0\n\n${await read('@novnc/novnc/docs/LICENSE.MPL-2.0')}`,
    `noVNC: core/crypto/des.js\n\n${firstComment(await read('@novnc/novnc/core/crypto/des.js'))}`,
    `pako\n\n${await read('@novnc/novnc/vendor/pako/LICENSE')}`,
  ];
  for (const name of XTERM) text.push(`@xterm/${name}\n\n${await read(`@xterm/${name}/LICENSE`)}`);
  return { text: `${text.map((part) => part.trim()).join(RULE)}\n`, versions };
}

/** The block comment a file begins with, without its stars. */
function firstComment(source) {
  const match = /\/\*([\s\S]*?)\*\//.exec(source);
  if (!match) throw new Error('a licence notice is missing from a dependency');
  return match[1].replace(/^ \* ?/gm, '').trim();
}
