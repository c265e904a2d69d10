// The machine's clipboard: shown, changed, sent; kept the same as this computer's only if the user asks.

import { button, checkbox, field, h } from '../common/dom.js';
import { preferences } from '../common/store.js';
import { t } from '../common/strings.js';
import { toast } from '../common/toast.js';

/** More than a clipboard needs, less than what stalls a page. */
const LIMIT = 256 * 1024;

export class Clipboard {
  #lastSent = null;

  /** @param {import('./screen.js').Screen} screen */
  constructor(screen) {
    this.screen = screen;
    this.text = h('textarea', { rows: 5, spellcheck: 'false', autocapitalize: 'off', maxlength: LIMIT });
    // Off at first: both directions give one side's secrets, or its words, to the other.
    const sync = checkbox(
      t('clipboard.sync'),
      preferences.get('clipboardSync', false),
      (on) => {
        preferences.set('clipboardSync', on);
        if (on) this.#pull();
      },
      t('clipboard.sync.hint'),
    );
    this.sync = sync.input;
    this.content = [
      field(t('clipboard.received'), this.text, t('clipboard.hint')),
      h(
        'div',
        { class: 'actions' },
        button({ icon: 'up', label: t('clipboard.send'), class: 'primary', run: () => this.#send() }),
        button({ icon: 'copy', label: t('clipboard.copy'), run: () => this.#copy() }),
      ),
      navigator.clipboard?.readText ? sync.row : null,
    ].filter(Boolean);
    screen.addEventListener('clipboard', ({ detail }) => this.#received(detail));
    screen.element.addEventListener('focusin', () => {
      if (this.sync.checked) this.#pull();
    });
  }

  /** This computer's clipboard; null, and a word to the user, where the browser refuses. */
  async read() {
    try {
      return (await navigator.clipboard.readText()).slice(0, LIMIT);
    } catch {
      toast(t('clipboard.denied'));
      return null;
    }
  }

  #received(text) {
    this.text.value = text.slice(0, LIMIT);
    this.#lastSent = this.text.value;
    if (this.sync.checked && document.hasFocus()) navigator.clipboard?.writeText(this.text.value).catch(() => {});
  }

  #send() {
    this.screen.copyTo(this.text.value);
    this.#lastSent = this.text.value;
    toast(t('clipboard.sent'));
    this.screen.focus();
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.text.value);
      toast(t('clipboard.copied'));
    } catch {
      // Plain HTTP, or a frame without permission: select it for the user's own Ctrl+C.
      this.text.select();
      toast(document.execCommand('copy') ? t('clipboard.copied') : t('clipboard.denied'));
    }
  }

  /** Sends this computer's clipboard on when the user comes back to the console with something new. */
  async #pull() {
    const text = await navigator.clipboard.readText().catch(() => null);
    if (!text || text === this.#lastSent || !this.screen.connected) return;
    this.#lastSent = text.slice(0, LIMIT);
    this.text.value = this.#lastSent;
    this.screen.copyTo(this.#lastSent);
  }
}
