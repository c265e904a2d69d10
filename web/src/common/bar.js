// The slim bar on top: state, the console's name, and its buttons.

import { h } from './dom.js';
import { t } from './strings.js';

/** @typedef {'idle'|'connecting'|'connected'|'waiting'|'ended'} State */

export class Bar {
  /** @param {string} name shown until the console tells its own */
  constructor(name) {
    this.name = h('h1', { class: 'name', text: name });
    this.note = h('span', { class: 'note' });
    this.status = h('span', { class: 'status', role: 'status' });
    this.dot = h('span', { class: 'dot', 'aria-hidden': 'true' });
    this.badges = h('div', { class: 'badges' });
    this.tools = h('div', { class: 'tools', role: 'toolbar', 'aria-label': t('bar.tools') });
    this.element = h(
      'header',
      { class: 'bar' },
      h('div', { class: 'who' }, this.dot, h('div', { class: 'words' }, this.name, this.note, this.status), this.badges),
      this.tools,
    );
    this.tools.addEventListener('keydown', (event) => this.#walk(event));
  }

  /** @param {...(HTMLElement|null)} buttons */
  add(...buttons) {
    this.tools.append(...buttons.filter(Boolean));
  }

  /** @param {State} state @param {string} text */
  show(state, text) {
    document.documentElement.dataset.state = state;
    for (const control of this.tools.querySelectorAll('.input')) control.disabled = state !== 'connected';
    if (this.status.textContent !== text) this.status.textContent = text;
    this.status.title = text;
  }

  /** The name, and a second line such as the desktop's own name. */
  rename(name, note = '') {
    this.name.textContent = name;
    this.name.title = name;
    this.note.textContent = note;
    document.title = name;
  }

  /** A short mark beside the state; null takes it away. @param {string} kind @param {string|null} text */
  badge(kind, text, title = '') {
    const old = this.badges.querySelector(`.${kind}`);
    if (old?.textContent === (text ?? undefined)) return;
    old?.remove();
    if (text !== null) this.badges.append(h('span', { class: `badge ${kind}`, role: 'status', text, title }));
  }

  focus() {
    this.tools.querySelector('button')?.focus();
  }

  /** Arrow keys move between buttons, as in any tool bar. */
  #walk(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !event.target.matches('.tools > .button, .tools > .anchor > .button')) return;
    const buttons = [...this.tools.querySelectorAll(':scope > .button, :scope > .anchor > .button')].filter((b) => b.offsetParent);
    const next = (buttons.indexOf(event.target) + step + buttons.length) % buttons.length;
    buttons[next].focus();
    event.preventDefault();
  }
}
