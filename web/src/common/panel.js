// The drawer at the side, with one foldable section for each subject.

import { button, h, press } from './dom.js';
import { t } from './strings.js';

export class Panel {
  /** @param {() => void} after gives the focus back to the console */
  constructor(after) {
    this.after = after;
    this.sections = new Map();
    this.body = h('div', { class: 'sections' });
    this.element = h(
      'aside',
      { class: 'panel', hidden: true, 'aria-label': t('bar.panel') },
      h(
        'div',
        { class: 'head' },
        h('h2', { text: t('bar.panel') }),
        button({ icon: 'close', label: t('action.close'), class: 'bare', quiet: true, run: () => this.close() }),
      ),
      this.body,
    );
    this.element.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.close();
    });
    this.button = button({ icon: 'settings', label: t('bar.panel'), quiet: true, run: () => this.toggle() });
    press(this.button, false);
  }

  /** @param {string} id @param {string} title @param {Node[]} content */
  add(id, title, content, { open = false } = {}) {
    const section = h('details', { class: 'section', open }, h('summary', { text: title }), h('div', { class: 'content' }, ...content));
    this.sections.set(id, section);
    this.body.append(section);
  }

  get isOpen() {
    return !this.element.hidden;
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  /** Opens the panel, at one section if named, and puts the focus there. */
  open(id = null) {
    this.element.hidden = false;
    press(this.button, true);
    const section = this.sections.get(id);
    if (!section) return;
    for (const other of this.sections.values()) other.open = other === section;
    section.scrollIntoView({ block: 'nearest' });
    section.querySelector('textarea, input, select, button')?.focus();
  }

  close() {
    this.element.hidden = true;
    press(this.button, false);
    this.after();
  }
}
