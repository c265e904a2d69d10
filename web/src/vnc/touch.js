// The on-screen keyboard of tablets: a hidden text field takes its input and turns it into key presses.

import Keyboard from 'novnc/core/input/keyboard.js';
import KeyTable from 'novnc/core/input/keysym.js';
import keysyms from 'novnc/core/input/keysymdef.js';

import { button, h, press } from '../common/dom.js';
import { t } from '../common/strings.js';

/** Text that is always there, so that Backspace has something to delete and is noticed. */
const FILLER = '_'.repeat(64);

export class TouchKeyboard {
  /** @param {import('./screen.js').Screen} screen */
  constructor(screen) {
    this.screen = screen;
    this.area = h('textarea', {
      class: 'touch-input', autocapitalize: 'off', autocomplete: 'off', autocorrect: 'off', spellcheck: 'false',
      tabindex: -1, 'aria-label': t('bar.touch'),
      on: { input: () => this.#typed(), focus: () => this.#shown(true), blur: () => this.#shown(false) },
    });
    this.button = button({
      icon: 'keyboard', label: t('bar.touch'), title: t('bar.touch.title'), class: 'touch-only', run: () => this.#toggle(),
    });
    press(this.button, false);
    // A press on the button must not blur the field first, or the toggle would open it again.
    this.button.addEventListener('pointerdown', (event) => event.preventDefault());
    this.keyboard = new Keyboard(this.area);
    this.keyboard.onkeyevent = (keysym, code, down) => this.screen.key(keysym, code, down);
    this.#reset();
  }

  #toggle() {
    if (document.activeElement === this.area) this.area.blur();
    else this.area.focus({ preventScroll: true });
  }

  #shown(on) {
    press(this.button, on);
    this.screen.focusOnClick = !on;
    if (on) this.keyboard.grab();
    else this.keyboard.ungrab();
    this.#reset();
  }

  #reset() {
    this.area.value = FILLER;
    this.area.setSelectionRange(FILLER.length, FILLER.length);
    this.before = FILLER;
  }

  /** Compares the field with what it was: auto-correction may replace a whole word. */
  #typed() {
    const now = this.area.value;
    let same = 0;
    while (same < now.length && now[same] === this.before[same]) same += 1;
    for (let n = this.before.length; n > same; n -= 1) this.screen.key(KeyTable.XK_BackSpace, 'Backspace');
    for (const character of now.slice(same)) {
      if (character === '\n') this.screen.key(KeyTable.XK_Return, 'Enter');
      else this.screen.key(keysyms.lookup(character.codePointAt(0)), null);
    }
    this.before = now;
    // A composing keyboard still refers to the text; start anew only at a word's end or far from the filler.
    if (now.length < 8 || now.length > 512 || /\s$/.test(now)) this.#reset();
  }
}
