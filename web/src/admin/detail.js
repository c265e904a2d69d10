// The panel beside the table: all that is known of one session or target, and what can be done about it.

import { button, h } from '../common/dom.js';
import { bytes, duration, moment, rate } from './format.js';
import { named, w } from './words.js';

export class Detail {
  /** @param {{close: () => void, end: (session) => void, breakLine: (session) => void, sessionsOf: (target) => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.title = h('h2');
    this.list = h('dl');
    this.buttons = h('div', { class: 'actions' });
    this.element = h(
      'aside',
      { class: 'panel detail', hidden: true },
      h('div', { class: 'head' }, this.title, button({ icon: 'close', label: w('detail.close'), class: 'bare', quiet: true, run: () => actions.close() })),
      h('div', { class: 'content' }, this.list, this.buttons),
    );
    this.element.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') actions.close();
    });
    this.key = null;
  }

  hide() {
    this.element.hidden = true;
    this.key = null;
  }

  session(session, name, ended) {
    const mode = [session.role && named('role', session.role), session.view_only ? w('watch') : null].filter(Boolean).join(', ');
    this.#fill(w('detail.session'), [
      [w('column.target'), name, session.target],
      [w('column.protocol'), named('protocol', session.protocol)],
      [w('detail.mode'), mode || w('detail.mode.full')],
      [w('column.user'), session.user],
      [w('column.project'), session.project],
      [w('column.source'), session.source],
      [w('column.proxy'), session.proxy],
      [w('detail.since'), `${moment(session.since)} (${duration(Date.now() - Date.parse(session.since))})`],
      [w('detail.down'), bytes(session.bytes_to_viewer), rate(session.down)],
      [w('detail.up'), bytes(session.bytes_to_target), rate(session.up)],
      [w('detail.id'), session.id],
      [w('detail.grant'), session.grant],
    ]);
    if (ended) {
      this.#actions(`gone ${session.id}`, () => [h('p', { class: 'hint', text: w('detail.gone') })]);
      return;
    }
    this.#actions(`session ${session.id}`, () => [
      button({ label: w('end.yes'), class: 'danger', run: () => this.actions.end(session) }),
      session.protocol === 'serial' ? button({ label: w('break'), run: () => this.actions.breakLine(session) }) : '',
    ]);
  }

  target(target) {
    const consoles = target.consoles.map(([kind, where]) => [named('protocol', kind), where]);
    this.#fill(w('detail.target'), [
      [w('detail.name'), target.name, target.id],
      [w('column.project'), target.project],
      [w('column.kind'), target.kind],
      [w('column.state'), target.state],
      [w('column.place'), target.place],
      ...consoles,
      [w('column.origin'), named('origin', target.origin)],
      [w('column.sessions'), String(target.sessions)],
    ]);
    this.#actions(`target ${target.id} ${target.sessions > 0}`, () => [
      target.sessions > 0 ? button({ label: w('detail.sessions'), run: () => this.actions.sessionsOf(target) }) : '',
    ]);
  }

  /** @param {[string, string, string?][]} lines term, value, and a second, quieter value; empty ones are left out */
  #fill(title, lines) {
    this.title.textContent = title;
    const shown = lines.filter(([, value, more]) => value || more);
    this.list.replaceChildren(
      ...shown.flatMap(([term, value, more]) => [
        h('dt', { text: term }),
        h('dd', {}, h('span', { text: value || more }), value && more && more !== value ? h('span', { class: 'more', text: more }) : ''),
      ]),
    );
    this.element.hidden = false;
  }

  /** Buttons are made once for each thing shown: one that is remade loses its focus. */
  #actions(key, make) {
    if (this.key === key) return;
    this.key = key;
    this.buttons.replaceChildren(...make());
  }
}
