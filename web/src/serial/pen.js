// Who types at a line that several people share: a strip that says it, with the buttons to change it.

import { button, h } from '../common/dom.js';
import { t } from '../common/strings.js';
import { toast } from '../common/toast.js';

export class Pen {
  #asking = null;

  /** @param {import('../common/company.js').Company} company @param {() => void} after gives the focus back to the terminal */
  constructor(company, after) {
    this.company = company;
    this.after = after;
    this.text = h('p', { class: 'text', role: 'status' });
    this.actions = h('div', { class: 'actions' });
    this.element = h('section', { class: 'pen', hidden: true, 'aria-label': t('pen.label') }, this.text, this.actions);
    company.addEventListener('change', () => {
      if (company.state.role !== 'writer') this.#asking = null;
      this.#show();
    });
    company.addEventListener('asked', ({ detail }) => {
      this.#asking = detail;
      this.#show();
    });
  }

  /** To be called when somebody types who may not. */
  refuse() {
    const { viewOnly, writer } = this.company.state;
    toast(viewOnly ? t('pen.refused.viewOnly') : t('pen.refused', { writer }));
  }

  #show() {
    const { pen, role, writer, viewers, viewOnly } = this.company.state;
    this.element.hidden = !pen || (viewers < 2 && role === 'writer');
    this.element.classList.toggle('asked', this.#asking !== null);
    if (this.element.hidden) return;
    const say = (type, label, primary = false) => {
      const run = () => {
        this.#asking = null;
        this.company.say({ type });
        this.#show();
        this.after();
      };
      return button({ label: t(label), class: primary ? 'primary' : '', run });
    };
    const keep = button({
      label: t('pen.keep'),
      run: () => {
        this.#asking = null;
        this.#show();
        this.after();
      },
    });
    let text;
    let actions = [];
    if (role === 'writer') {
      text = this.#asking === null ? t('pen.mine') : t('pen.asked', { user: this.#asking });
      actions = this.#asking === null ? [say('give', 'pen.give')] : [say('give', 'pen.give', true), keep];
    } else if (writer === null) {
      text = t(viewOnly ? 'pen.nobody.viewOnly' : 'pen.nobody');
      actions = viewOnly ? [] : [say('take', 'pen.take', true)];
    } else {
      text = t('pen.theirs', { writer });
      actions = viewOnly ? [] : [say('ask', 'pen.ask', true), say('take', 'pen.takeOver')];
    }
    this.text.textContent = text;
    this.actions.replaceChildren(...actions);
  }
}
