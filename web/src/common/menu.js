// A button that opens a small sheet below it. Stays open while its keys are pressed; closes on Escape or outside.

import { button, h } from './dom.js';

export class Menu {
  /**
   * @param {{icon: string, label: string, title: string, quiet?: boolean}} look
   * @param {Node[]} content
   * @param {() => void} after gives the focus back to the console
   */
  constructor(look, content, after) {
    this.after = after;
    this.button = button({ ...look, class: 'input', run: () => this.toggle() });
    this.button.setAttribute('aria-expanded', 'false');
    this.button.setAttribute('aria-haspopup', 'true');
    this.sheet = h('div', { class: 'sheet', hidden: true, role: 'group', 'aria-label': look.title }, ...content);
    this.element = h('div', { class: 'anchor' }, this.button, this.sheet);
    this.element.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.isOpen) {
        this.close();
        event.stopPropagation();
      }
    });
    document.addEventListener('pointerdown', (event) => {
      if (this.isOpen && !this.element.contains(event.target)) this.hide();
    });
  }

  get isOpen() {
    return !this.sheet.hidden;
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  open() {
    this.sheet.hidden = false;
    this.button.setAttribute('aria-expanded', 'true');
  }

  close() {
    this.hide();
    this.after();
  }

  /** Closes and leaves the focus where it is. */
  hide() {
    this.sheet.hidden = true;
    this.button.setAttribute('aria-expanded', 'false');
  }
}

/** A titled group within a sheet or panel. */
export function group(title, kind, ...children) {
  return h('section', { class: `group ${kind}` }, h('h3', { text: title }), h('div', { class: 'items' }, ...children));
}
