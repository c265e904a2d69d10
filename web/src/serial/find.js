// The find bar over the terminal.

import { button, h } from '../common/dom.js';
import { t } from '../common/strings.js';
import { theme } from '../common/theme.js';
import { foundColours } from './colours.js';

export class Find {
  /** @param {import('./terminal.js').Terminal} terminal */
  constructor(terminal) {
    this.terminal = terminal;
    this.input = h('input', {
      type: 'search', placeholder: t('find.label'), 'aria-label': t('find.label'), maxlength: 256, spellcheck: 'false',
      on: { input: () => this.#find('next', true), keydown: (event) => this.#key(event) },
    });
    this.count = h('span', { class: 'count', role: 'status' });
    this.element = h(
      'div',
      { class: 'find', role: 'search', hidden: true },
      this.input,
      this.count,
      button({ icon: 'up', label: t('find.previous'), class: 'bare', quiet: true, run: () => this.#find('previous') }),
      button({ icon: 'down', label: t('find.next'), class: 'bare', quiet: true, run: () => this.#find('next') }),
      button({ icon: 'close', label: t('action.close'), class: 'bare', quiet: true, run: () => this.close() }),
    );
    terminal.search.onDidChangeResults(({ resultIndex, resultCount }) => {
      const values = { index: resultIndex + 1, count: resultCount };
      this.count.textContent = !this.input.value ? '' : resultCount ? t('find.count', values) : t('find.none');
    });
  }

  open() {
    this.element.hidden = false;
    this.input.select();
    this.input.focus();
  }

  close() {
    this.element.hidden = true;
    this.terminal.search.clearDecorations();
    this.terminal.focus();
  }

  toggle() {
    if (this.element.hidden) this.open();
    else this.close();
  }

  #find(direction, incremental = false) {
    const options = { incremental, decorations: foundColours(theme.isDark) };
    const { search } = this.terminal;
    if (!this.input.value) {
      search.clearDecorations();
      this.count.textContent = '';
    } else if (direction === 'next') {
      search.findNext(this.input.value, options);
    } else {
      search.findPrevious(this.input.value, { ...options, incremental: false });
    }
  }

  #key(event) {
    if (event.key === 'Enter') this.#find(event.shiftKey ? 'previous' : 'next');
    else if (event.key === 'Escape') this.close();
    else return;
    event.preventDefault();
  }
}
