// xterm.js, its addons, and what is remembered of it: text size, terminal size.

import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { Unicode11Addon } from '@xterm/addon-unicode11';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal as Xterm } from '@xterm/xterm';

import { h } from '../common/dom.js';
import { preferences } from '../common/store.js';
import { t } from '../common/strings.js';
import { theme } from '../common/theme.js';
import { terminalColours } from './colours.js';

const FONT = "ui-monospace, 'Cascadia Mono', 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";

/** A boot log of a large machine; about 20 MB at 100 columns. */
const SCROLLBACK_LINES = 10_000;

/** Of what xterm.js sends: device attributes and status, cursor and mode reports, focus, colours, settings. */
const REPLY = /^\x1b(\[[?>]?[\d;]*(c|n|R|\$y|t)|\[[IO]|\]|P)/;

const [SMALLEST, LARGEST] = [8, 32];

/** A cell as high as the font is measured cuts off the underscores of some, DejaVu Sans Mono at 14 pixels among them. */
const LINE_HEIGHT = 1.1;

/** Text from the machine names the address, so opening one takes a deliberate click. */
function openLink(event, address) {
  if (!event.ctrlKey && !event.metaKey) return;
  let url;
  try {
    url = new URL(address);
  } catch {
    return;
  }
  if (url.protocol === 'https:' || url.protocol === 'http:') window.open(url, '_blank', 'noopener,noreferrer');
}

export class Terminal {
  #fit = new FitAddon();

  /** @param {import('./line.js').Line} line */
  constructor(line) {
    this.line = line;
    this.element = h('div', { class: 'lines' });
    this.size = preferences.get('terminalSize', 'fit');
    const hover = (event, text) => {
      this.element.title = text ? t('link.hint', { url: text }) : '';
    };
    const leave = () => hover(null, '');
    this.xterm = new Xterm({
      allowProposedApi: true, // Unicode 11 widths and search marks
      cursorBlink: true,
      fontFamily: FONT,
      fontSize: preferences.get('fontSize', 14),
      lineHeight: LINE_HEIGHT,
      linkHandler: { activate: openLink, hover, leave },
      macOptionIsMeta: true,
      minimumContrastRatio: 4.5, // programs pick colours for a dark background, or for a light one
      screenReaderMode: preferences.get('screenReader', false),
      scrollback: SCROLLBACK_LINES,
      theme: terminalColours(theme.isDark),
    });
    this.search = new SearchAddon();
    this.xterm.loadAddon(this.#fit);
    this.xterm.loadAddon(this.search);
    this.xterm.loadAddon(new Unicode11Addon());
    this.xterm.loadAddon(new WebLinksAddon(openLink, { hover, leave }));
    this.xterm.unicode.activeVersion = '11';
    this.xterm.onData((text) => (REPLY.test(text) ? line.reply(text) : line.send(text)));
    this.xterm.onBinary((text) => line.sendBytes(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    line.addEventListener('data', ({ detail }) => this.xterm.write(detail));
    theme.addEventListener('change', () => {
      this.xterm.options.theme = terminalColours(theme.isDark);
    });
  }

  /** To be called once the element is in the page: xterm measures it. */
  open() {
    this.xterm.open(this.element);
    new ResizeObserver(() => this.fit()).observe(this.element);
    this.fit();
  }

  fit() {
    if (this.size === 'fixed') this.xterm.resize(80, 24);
    else if (this.element.clientHeight > 0) this.#fit.fit();
  }

  /** @param {'fit'|'fixed'} size */
  setSize(size) {
    this.size = size;
    preferences.set('terminalSize', size);
    this.fit();
  }

  get fontSize() {
    return this.xterm.options.fontSize;
  }

  set fontSize(points) {
    this.xterm.options.fontSize = Math.min(LARGEST, Math.max(SMALLEST, points));
    preferences.set('fontSize', this.xterm.options.fontSize);
    this.fit();
  }

  set screenReader(on) {
    this.xterm.options.screenReaderMode = on;
    preferences.set('screenReader', on);
  }

  /** A line of the page's own between what the console says. */
  note(text) {
    this.xterm.write(`\x1b[0m\r\n\x1b[7m ${text} \x1b[0m\r\n`);
  }

  focus() {
    this.xterm.focus();
  }

  /** Everything on the screen and scrolled off it; lines the terminal wrapped are whole again. */
  transcript() {
    const buffer = this.xterm.buffer.active;
    const lines = [];
    for (let n = 0; n < buffer.length; n += 1) {
      const row = buffer.getLine(n);
      const wraps = buffer.getLine(n + 1)?.isWrapped ?? false;
      const text = row.translateToString(!wraps);
      if (row.isWrapped && lines.length) lines[lines.length - 1] += text;
      else lines.push(text);
    }
    return `${lines.join('\n').trimEnd()}\n`;
  }
}
