// Copy from and paste into the terminal, with a way for browsers that guard the clipboard.

import { button, field, h, select } from '../common/dom.js';
import { preferences } from '../common/store.js';
import { t } from '../common/strings.js';
import { toast } from '../common/toast.js';

/** @param {import('./terminal.js').Terminal} terminal */
export async function copySelection(terminal) {
  const text = terminal.xterm.getSelection();
  if (!text) {
    toast(t('clipboard.nothing'));
    return;
  }
  try {
    await navigator.clipboard.writeText(text);
    toast(t('clipboard.copied'));
  } catch {
    // Plain HTTP or a frame without permission: the old command still works on the terminal's own selection.
    terminal.focus();
    toast(document.execCommand('copy') ? t('clipboard.copied') : t('clipboard.denied'));
  }
}

/** The panel's section to send text, also where the clipboard cannot be read. */
export class SendText {
  /** @param {import('./terminal.js').Terminal} terminal @param {import('./line.js').Line} line */
  constructor(terminal, line) {
    this.terminal = terminal;
    this.text = h('textarea', { rows: 6, spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off' });
    line.pace = preferences.get('linePace', 'fast');
    const pace = select([['fast', t('paste.fast')], ['slow', t('paste.slow')]], line.pace, (value) => {
      line.pace = value;
      preferences.set('linePace', value);
    });
    const send = () => {
      terminal.xterm.paste(this.text.value);
      terminal.focus();
    };
    this.content = [
      field(t('paste.text'), this.text, t('paste.hint')),
      field(t('paste.speed'), pace),
      h('div', { class: 'actions' }, button({ icon: 'paste', label: t('paste.send'), class: 'primary', run: send })),
    ];
  }

  /** Pastes the clipboard at once, or opens the section where the browser does not let us read it. */
  async paste(openSection) {
    const text = await navigator.clipboard?.readText?.().catch(() => null);
    if (text === null || text === undefined) {
      openSection();
      return;
    }
    this.terminal.xterm.paste(text);
    this.terminal.focus();
  }
}
