// Builds dist/: the pages, their assets with a digest in each name, and files.txt, the list build.rs embeds.
// Files whose bytes did not change keep their time stamp, so that cargo compiles nothing anew for them.

import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

import { licences } from './licences.mjs';

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, 'dist');

const TYPES = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8',
};

// The VNC pages differ in how much of the console's controls they show at once.
const PAGES = [
  { name: 'vnc.html', template: 'vnc.html', values: { chrome: 'full' } },
  { name: 'vnc_auto.html', template: 'vnc.html', values: { chrome: 'slim' } },
  { name: 'vnc_lite.html', template: 'vnc.html', values: { chrome: 'slim' } },
  { name: 'serial.html', template: 'serial.html', values: {} },
  { name: 'recordings.html', template: 'recordings.html', values: {} },
  { name: 'admin.html', template: 'admin.html', values: {} },
];

/** @returns {Promise<{files: Map<string, Buffer>, names: Object<string, string>}>} */
async function bundle(versions) {
  const result = await build({
    absWorkingDir: root,
    entryPoints: {
      vnc: 'src/vnc/main.js',
      serial: 'src/serial/main.js',
      admin: 'src/admin/main.js',
      player: 'src/player/main.js',
    },
    outdir: 'dist/assets',
    entryNames: '[name]-[hash]',
    bundle: true,
    format: 'esm',
    target: ['es2022'],
    minify: true,
    legalComments: 'none', // all notices are in the licences file
    charset: 'utf8',
    metafile: true,
    write: false,
    alias: { novnc: join(root, 'node_modules/@novnc/novnc') },
    define: { VERSIONS: JSON.stringify(versions) },
    logLevel: 'warning',
  });
  const files = new Map(result.outputFiles.map((f) => [`assets/${f.path.split(/[\\/]/).pop()}`, Buffer.from(f.contents)]));
  const names = {};
  for (const name of files.keys()) {
    names[name.replace(/^assets\/(\w+)-\w+\.(\w+)$/, '$1.$2')] = name;
  }
  return { files, names };
}

function digest(bytes) {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32);
}

function add(site, name, bytes) {
  const [, stem, extension] = /^(.*)\.(\w+)$/.exec(name);
  const hashed = `assets/${stem}-${digest(bytes).slice(0, 8).toUpperCase()}.${extension}`;
  site.files.set(hashed, bytes);
  site.names[name] = hashed;
}

function page(template, values) {
  return template.replace(/\{\{([\w.]+)\}\}/g, (whole, key) => {
    if (!(key in values)) throw new Error(`the template asks for ${whole}, which the build did not make`);
    return values[key];
  });
}

/** Adds the packed variants and the list: name, content type, digest, `gzip` or `plain`. */
function pack(files) {
  const list = [];
  for (const [name, bytes] of [...files].sort()) {
    const packed = name.startsWith('assets/') ? gzipSync(bytes, { level: 9 }) : bytes;
    const pays = packed.length < bytes.length * 0.9;
    if (pays) files.set(`${name}.gz`, packed);
    list.push([name, TYPES[name.split('.').pop()], digest(bytes), pays ? 'gzip' : 'plain'].join('\t'));
  }
  files.set('files.txt', Buffer.from(`${list.join('\n')}\n`));
}

async function write(files) {
  await mkdir(join(dist, 'assets'), { recursive: true });
  for (const old of await readdir(dist, { recursive: true })) {
    const name = old.replaceAll('\\', '/');
    if (name !== 'assets' && !files.has(name)) await rm(join(dist, name), { recursive: true, force: true });
  }
  for (const [name, bytes] of files) {
    const there = await readFile(join(dist, name)).catch(() => null);
    if (!there?.equals(bytes)) await writeFile(join(dist, name), bytes);
  }
}

const notice = await licences(root);
const site = await bundle(notice.versions);
add(site, 'licences.txt', Buffer.from(notice.text));
add(site, 'icon.svg', await readFile(join(root, 'static/icon.svg')));
for (const { name, template, values } of PAGES) {
  const source = await readFile(join(root, 'html', template), 'utf8');
  site.files.set(name, Buffer.from(page(source, { ...site.names, ...notice.versions, ...values })));
}
pack(site.files);
await write(site.files);
const total = [...site.files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
console.log(`web/dist: ${site.files.size} files, ${Math.round(total / 1024)} KiB`);
