// The menu of keys that a browser or its system keeps for itself, and modifiers that stay down.

import KeyTable from 'novnc/core/input/keysym.js';

import { button, h, press, select } from '../common/dom.js';
import { Menu, group } from '../common/menu.js';
import { t } from '../common/strings.js';

const MODIFIERS = [
  ['Ctrl', KeyTable.XK_Control_L, 'ControlLeft'],
  ['Alt', KeyTable.XK_Alt_L, 'AltLeft'],
  ['Shift', KeyTable.XK_Shift_L, 'ShiftLeft'],
  ['Win', KeyTable.XK_Super_L, 'MetaLeft'],
  ['AltGr', KeyTable.XK_ISO_Level3_Shift, 'AltRight'],
];

const [CTRL, ALT, SHIFT, WIN] = MODIFIERS.map(([, keysym, code]) => [keysym, code]);
const ESC = [KeyTable.XK_Escape, 'Escape'];
const TAB = [KeyTable.XK_Tab, 'Tab'];
const PRINT = [KeyTable.XK_Print, 'PrintScreen'];
const fn = (n) => [KeyTable.XK_F1 + n - 1, `F${n}`];
const letter = (l) => [l.charCodeAt(0), `Key${l.toUpperCase()}`];

const SINGLE = [
  ['Esc', [ESC]],
  ['Tab', [TAB]],
  ['Print Screen', [PRINT]],
  ['Pause', [[KeyTable.XK_Pause, 'Pause']]],
  ['Insert', [[KeyTable.XK_Insert, 'Insert']]],
  ['Menu', [[KeyTable.XK_Menu, 'ContextMenu']]],
];

const COMBINATIONS = [
  ['Ctrl-Alt-Del', [CTRL, ALT, [KeyTable.XK_Delete, 'Delete']]],
  ['Ctrl-Alt-Backspace', [CTRL, ALT, [KeyTable.XK_BackSpace, 'Backspace']]],
  ['Alt-Tab', [ALT, TAB]],
  ['Alt-F4', [ALT, fn(4)]],
  ['Ctrl-Esc', [CTRL, ESC]],
  ['Ctrl-Shift-Esc', [CTRL, SHIFT, ESC]],
  ['Ctrl-W', [CTRL, letter('w')]],
  ['Win-L', [WIN, letter('l')]],
  ['Win-R', [WIN, letter('r')]],
];

/** Documentation/admin-guide/sysrq of the Linux kernel. */
const SYSRQ = [
  ['h', 'Help'],
  ['r', 'Keyboard out of raw mode'],
  ['e', 'Terminate all processes'],
  ['i', 'Kill all processes'],
  ['s', 'Sync discs'],
  ['u', 'Remount discs read-only'],
  ['b', 'Reboot at once'],
  ['o', 'Power off'],
  ['c', 'Crash (for a dump)'],
  ['f', 'Kill by memory shortage'],
  ['k', 'Kill this terminal'],
  ['l', 'Backtrace of processors'],
  ['m', 'Memory information'],
  ['t', 'List tasks'],
  ['w', 'List blocked tasks'],
];

export class Keys {
  #held = new Map();

  /** @param {import('./screen.js').Screen} screen */
  constructor(screen) {
    this.screen = screen;
    this.toggles = MODIFIERS.map(([label, ...key]) => {
      const toggle = button({ label, run: () => this.#toggle(toggle, key) });
      press(toggle, false);
      return toggle;
    });
    const look = { icon: 'command', label: t('bar.keys'), title: t('bar.keys.title') };
    const terminals = Array.from({ length: 12 }, (_, n) => [`F${n + 1}`, [CTRL, ALT, fn(n + 1)]]);
    this.menu = new Menu(
      look,
      [
        group(t('keys.hold'), 'wide', ...this.toggles),
        group(t('keys.single'), 'wide', ...this.#buttons(SINGLE)),
        group(t('keys.combinations'), 'wide', ...this.#buttons(COMBINATIONS)),
        group(t('keys.terminals'), 'grid', ...this.#buttons(terminals, 'Ctrl-Alt-')),
        group(t('keys.sysrq'), 'row', ...this.#sysrq()),
      ],
      () => screen.focus(),
    );
    this.element = this.menu.element;
  }

  /** Presses the keys in order and lets them go in reverse. @param {[number, string][]} keys */
  chord(keys) {
    for (const [keysym, code] of keys) this.screen.key(keysym, code, true);
    for (const [keysym, code] of [...keys].reverse()) this.screen.key(keysym, code, false);
  }

  /** Lets every held modifier go: the machine must not be left with Ctrl down. */
  release() {
    for (const [toggle, [keysym, code]] of this.#held) {
      this.screen.key(keysym, code, false);
      press(toggle, false);
    }
    this.#held.clear();
  }

  #toggle(toggle, key) {
    const down = !this.#held.has(toggle);
    if (down) this.#held.set(toggle, key);
    else this.#held.delete(toggle);
    this.screen.key(...key, down);
    press(toggle, down);
  }

  #buttons(keys, prefix = '') {
    return keys.map(([label, chord]) => button({ label, title: prefix + label, run: () => this.chord(chord) }));
  }

  #sysrq() {
    const options = SYSRQ.map(([key, what]) => [key, `${key.toUpperCase()}: ${what}`]);
    const choice = select(options, 'h', () => {});
    choice.setAttribute('aria-label', t('keys.sysrq'));
    const send = button({ label: t('keys.sysrq.send'), run: () => this.chord([ALT, PRINT, letter(choice.value)]) });
    return [h('div', { class: 'pair' }, choice, send)];
  }
}
