// Types text as key presses: for machines without a clipboard agent, log-in prompts, firmware.

import KeyTable from 'novnc/core/input/keysym.js';
import keysyms from 'novnc/core/input/keysymdef.js';

import { button, field, h, select } from '../common/dom.js';
import { preferences } from '../common/store.js';
import { t } from '../common/strings.js';
import { layoutNames, likelyLayout, strokesFor } from './layouts.js';

/** Milliseconds between key presses. Keyboards are slow devices: a PS/2 controller holds 16 bytes. */
const PACES = { fast: 6, normal: 20, slow: 90 };

/** X11 keysyms of the dead keys. */
const DEAD = {
  '\u0300': 0xfe50, '\u0301': 0xfe51, '\u0302': 0xfe52, '\u0303': 0xfe53, '\u0308': 0xfe57,
};

const SHIFT = [KeyTable.XK_Shift_L, 'ShiftLeft'];
const ALTGR = [KeyTable.XK_ISO_Level3_Shift, 'AltRight'];

function keysymOf(character) {
  if (character === '\n') return KeyTable.XK_Return;
  if (character === '\t') return KeyTable.XK_Tab;
  return DEAD[character] ?? keysyms.lookup(character.codePointAt(0));
}

/**
 * @param {import('./screen.js').Screen} screen
 * @param {import('./layouts.js').Stroke} stroke
 */
function strike(screen, { code, character, shift, altgr }) {
  const modifiers = [...(shift ? [SHIFT] : []), ...(altgr ? [ALTGR] : [])];
  for (const key of modifiers) screen.key(...key, true);
  screen.key(keysymOf(character), code);
  for (const key of modifiers.reverse()) screen.key(...key, false);
}

/** The panel's section: text, layout, speed, progress. */
export class Typing {
  #running = null;

  /** @param {import('./screen.js').Screen} screen @param {{read: () => Promise<string|null>}} clipboard */
  constructor(screen, clipboard) {
    this.screen = screen;
    this.text = h('textarea', { rows: 5, spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off' });
    this.layout = select(
      [...layoutNames(), ['auto', t('type.layout.auto')]],
      preferences.get('layout', likelyLayout(navigator.languages)),
      (value) => preferences.set('layout', value),
    );
    this.pace = select(
      [['fast', t('type.fast')], ['normal', t('type.normal')], ['slow', t('type.slow')]],
      preferences.get('pace', 'normal'),
      (value) => preferences.set('pace', value),
    );
    this.send = button({ icon: 'type', label: t('type.send'), class: 'primary', run: () => this.#toggle() });
    const fetch = button({
      icon: 'clipboard', label: t('type.fromClipboard'),
      run: async () => {
        this.text.value = (await clipboard.read()) ?? this.text.value;
        this.text.focus();
      },
    });
    this.note = h('p', { class: 'hint', role: 'status' });
    this.content = [
      field(t('type.text'), this.text, t('type.hint')),
      field(t('type.layout'), this.layout),
      field(t('type.speed'), this.pace),
      h('div', { class: 'actions' }, this.send, fetch),
      this.note,
    ];
  }

  /** Ends typing in the middle; what was typed stays typed. */
  stop() {
    this.#running?.abort();
  }

  async #toggle() {
    if (this.#running) {
      this.stop();
      return;
    }
    const layout = this.layout.value === 'auto' ? null : this.layout.value;
    const { strokes, missing } = strokesFor(this.text.value, layout);
    this.#running = new AbortController();
    this.#label('type.stop');
    const done = await this.#type(strokes, PACES[this.pace.value], this.#running.signal);
    this.#running = null;
    this.#label('type.send');
    const left = missing.length ? t('type.missing', { characters: missing.slice(0, 20).join(' ') }) : '';
    this.note.textContent = left || (done ? t('type.done', { total: strokes.length }) : this.note.textContent);
    if (done && !left) this.screen.focus();
  }

  /** @returns {Promise<boolean>} whether it came to the end */
  async #type(strokes, pause, signal) {
    for (const [n, stroke] of strokes.entries()) {
      if (signal.aborted || !this.screen.connected) return false;
      strike(this.screen, stroke);
      this.note.textContent = t('type.progress', { done: n + 1, total: strokes.length });
      await new Promise((next) => setTimeout(next, pause));
    }
    return true;
  }

  #label(key) {
    const text = t(key);
    this.send.querySelector('.label').textContent = text;
    this.send.title = text;
    this.send.setAttribute('aria-label', text);
  }
}
