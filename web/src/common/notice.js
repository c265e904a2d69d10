// What the user must know in the middle of things: connecting, ended, and what can be done about it.

import { button, h } from './dom.js';

export class Notice {
  /** @param {'card'|'strip'} kind a card over the picture, or a strip that leaves the text in sight */
  constructor(kind) {
    this.title = h('h2', { id: 'notice-title' });
    this.text = h('p', { class: 'text' });
    this.detail = h('p', { class: 'detail' });
    this.actions = h('div', { class: 'actions' });
    this.element = h(
      'section',
      { class: `notice ${kind}`, hidden: true, role: 'alert', 'aria-labelledby': 'notice-title' },
      h('div', { class: 'box' }, h('div', { class: 'spinner', 'aria-hidden': 'true' }), h('div', { class: 'words' }, this.title, this.text, this.detail), this.actions),
    );
  }

  /**
   * @param {{title: string, text?: string, detail?: string, busy?: boolean, body?: Node,
   *   actions?: {label: string, primary?: boolean, run: () => void}[]}} content
   */
  show({ title, text = '', detail = '', busy = false, body = null, actions = [] }) {
    this.title.textContent = title;
    this.text.textContent = text;
    this.detail.textContent = detail;
    this.element.classList.toggle('busy', busy);
    this.actions.replaceChildren(
      ...(body ? [body] : []),
      ...actions.map(({ label, primary, run }) => button({ label, class: primary ? 'primary' : '', run })),
    );
    this.element.hidden = false;
  }

  /** Changes the text alone, for a count-down. */
  update(text) {
    this.text.textContent = text;
  }

  hide() {
    this.element.hidden = true;
  }
}
