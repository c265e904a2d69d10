// The operator's page: who is on which console now, where targets are, and an end to a session.

import { button, h } from '../common/dom.js';
import { setIcon } from '../common/icons.js';
import { theme } from '../common/theme.js';
import { toast } from '../common/toast.js';
import '../style/admin.css';
import { Api, Refused, Unreached } from './api.js';
import { confirmEnd } from './confirm.js';
import { Detail } from './detail.js';
import { door } from './enter.js';
import { moment, number, rate } from './format.js';
import { Rates } from './rates.js';
import { arrange } from './rows.js';
import { FIELDS, sessionTable, targetRow, targetTable } from './views.js';
import { w } from './words.js';

/** Between two looks, at least; a list that takes long to get is asked for less often, so that the relay has the cores. */
const LOOK_MS = 2000;
const LOOK_FACTOR = 10;
const LOOK_MOST_MS = 10_000;

/** Targets change when servers do: often enough for names and counts, and at the latest for somebody who looks at them. */
const TARGETS_MS = 30_000;

class Page {
  constructor() {
    this.api = new Api();
    this.rates = new Rates();
    this.view = 'sessions';
    this.text = { sessions: '', targets: '' };
    this.order = { sessions: { by: 'down', down: true }, targets: { by: 'name', down: false } };
    this.sessions = [];
    this.targets = [];
    this.names = new Map();
    this.paused = false;
    this.lost = null;
    this.isDraining = false;
    this.isPartial = false;
    this.timer = 0;
    this.targetsAt = -Infinity;
    this.targetsPause = 0;
    this.chosen = null;
    this.#build();
  }

  start() {
    if (this.api.signedIn) this.#enter();
    else this.#leave();
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.api.signedIn) this.#look();
    });
  }

  #build() {
    const shared = (view) => ({
      open: (row) => this.#choose({ view, id: row.id, row }),
      sort: (key) => this.#sort(view, key),
      empty: () => (this.text[view] ? w('empty.found', { text: this.text[view] }) : w(`empty.${view}`)),
    });
    this.tables = {
      sessions: sessionTable({ ...shared('sessions'), end: (row) => this.#end(row) }),
      targets: targetTable(shared('targets')),
    };
    this.tabs = new Map(['sessions', 'targets'].map((view) => [view, this.#tab(view)]));
    this.search = h('input', { type: 'search', spellcheck: 'false', autocomplete: 'off', 'aria-label': w('search'), on: { input: () => this.#find(this.search.value) } });
    this.count = h('span', { class: 'count', role: 'status' });
    this.sums = h('span', { class: 'sums' });
    this.state = h('span', { class: 'state' }, h('span', { class: 'dot' }), h('span', { class: 'words' }));
    this.pause = button({ label: w('pause'), run: () => this.#pause() });
    const light = button({ icon: theme.isDark ? 'sun' : 'moon', label: w('theme'), quiet: true, class: 'bare', run: () => theme.choose(theme.isDark ? 'light' : 'dark') });
    theme.addEventListener('change', () => setIcon(light, theme.isDark ? 'sun' : 'moon'));
    const again = button({ icon: 'reconnect', label: w('reload'), quiet: true, class: 'bare', run: () => this.#look(true) });
    this.detail = new Detail({
      close: () => this.#choose(null),
      end: (session) => this.#end(session),
      breakLine: (session) => this.#break(session),
      sessionsOf: (target) => this.#show('sessions', target.id),
    });
    this.inside = h(
      'div',
      { class: 'inside', hidden: true },
      h('header', { class: 'bar' }, h('h1', { class: 'name', text: w('title') }), h('nav', { role: 'tablist' }, ...this.tabs.values()), this.state, h('span', { class: 'space' }), again, light, button({ label: w('leave'), run: () => this.#leave() })),
      h('div', { class: 'filter' }, h('div', { class: 'find' }, this.search), this.count, h('span', { class: 'space' }), this.sums, this.pause),
      h('div', { class: 'room' }, h('main', { class: 'stage' }, this.tables.sessions.element, this.tables.targets.element), this.detail.element),
    );
    this.door = door(async (token) => {
      await this.api.signIn(token);
      this.#enter();
    });
    document.body.append(this.door.element, this.inside);
    document.addEventListener('keydown', (event) => {
      if (event.key === '/' && !this.inside.hidden && !event.target.closest('input, dialog')) {
        event.preventDefault();
        this.search.focus();
      }
    });
  }

  #tab(view) {
    return h('button', { type: 'button', role: 'tab', class: 'tab', text: w(`tab.${view}`), on: { click: () => this.#show(view) } });
  }

  #enter() {
    this.door.element.hidden = true;
    this.inside.hidden = false;
    this.#show(this.view);
    this.#look(true);
  }

  #leave() {
    clearTimeout(this.timer);
    this.api.signOut();
    this.sessions = [];
    this.targets = [];
    this.names.clear();
    this.rates = new Rates();
    this.#choose(null);
    for (const table of Object.values(this.tables)) table.update([]);
    this.inside.hidden = true;
    this.door.element.hidden = false;
    this.door.focus();
  }

  /** Looks, and comes back for the next look. */
  async #look(everything = false) {
    clearTimeout(this.timer);
    if (this.looking || !this.api.signedIn || (this.paused && !everything)) return;
    this.looking = true;
    const begun = performance.now();
    try {
      await this.#fetch(everything);
      this.lost = null;
    } catch (error) {
      if (error instanceof Refused) return this.#leave();
      if (error instanceof Unreached) this.lost ??= new Date();
      else toast(error.message);
    } finally {
      this.looking = false;
    }
    this.#draw();
    // Nobody looks at a page in the background.
    if (document.hidden) return undefined;
    const pause = LOOK_FACTOR * (performance.now() - begun);
    this.timer = setTimeout(() => this.#look(), Math.min(LOOK_MOST_MS, Math.max(LOOK_MS, pause)));
    return undefined;
  }

  async #fetch(everything) {
    const [{ sessions, complete }, draining] = await Promise.all([this.api.get('/v1/sessions'), this.api.draining()]);
    const now = performance.now();
    this.isDraining = draining;
    // Absent where there is one process only.
    this.isPartial = complete === false;
    const pause = this.view === 'targets' ? this.targetsPause : TARGETS_MS;
    if (everything || now - this.targetsAt > pause) {
      this.targets = (await this.api.targets()).map(targetRow);
      this.targetsAt = performance.now();
      this.targetsPause = Math.min(TARGETS_MS, LOOK_FACTOR * (this.targetsAt - now));
      this.names = new Map(this.targets.map((target) => [target.id, target.name]));
    }
    const counts = new Map();
    for (const session of sessions) {
      session.name = this.names.get(session.target) || '';
      session.mode = session.view_only ? w('watch') : '';
      counts.set(session.target, (counts.get(session.target) ?? 0) + 1);
    }
    for (const target of this.targets) target.sessions = counts.get(target.id) ?? 0;
    this.sessions = this.rates.take(sessions, now);
  }

  #draw() {
    const view = this.view;
    const all = this[view];
    const rows = arrange(all, { text: this.text[view], fields: FIELDS[view], ...this.order[view] });
    this.tables[view].update(rows);
    // One process is not worth a column.
    this.tables.sessions.show('proxy', new Set(this.sessions.map((session) => session.proxy)).size > 1);
    const one = view === 'sessions' ? 'sum.session' : 'sum.target';
    const whole = all.length === 1 ? w(one) : w(`sum.${view}`, { count: number(all.length) });
    this.count.textContent = rows.length === all.length ? whole : w('sum.shown', { shown: number(rows.length), count: whole });
    const sum = (field) => this.sessions.reduce((total, session) => total + session[field], 0);
    const [down, up] = [rate(sum('down')) || '0 B/s', rate(sum('up')) || '0 B/s'];
    this.sums.textContent = `${down} ${w('sum.down')}, ${up} ${w('sum.up')}`;
    this.#status();
    this.#detail();
    document.title = `${this.sessions.length} - ${w('title')}`;
  }

  #status() {
    const name = this.lost ? 'lost' : this.isPartial ? 'partial' : this.isDraining ? 'draining' : this.paused ? 'paused' : 'live';
    this.state.dataset.is = name;
    this.state.lastElementChild.textContent = w(`state.${name}`, { time: this.lost ? moment(this.lost).slice(11) : '' });
  }

  #detail() {
    if (!this.chosen) return;
    const { view, id, row } = this.chosen;
    const now = this[view].find((one) => one.id === id);
    if (view === 'sessions') this.detail.session(now ?? row, (now ?? row).name, !now);
    else if (now) this.detail.target(now);
    else this.#choose(null);
    if (now && this.chosen) this.chosen.row = now;
  }

  #choose(chosen) {
    this.chosen = chosen;
    for (const [view, table] of Object.entries(this.tables)) table.choose(chosen?.view === view ? chosen.id : null);
    if (chosen) this.#detail();
    else this.detail.hide();
  }

  #show(view, text = this.text[view]) {
    this.view = view;
    this.text[view] = text;
    for (const [name, tab] of this.tabs) {
      tab.setAttribute('aria-selected', String(name === view));
      this.tables[name].element.hidden = name !== view;
    }
    this.search.placeholder = w(`search.${view}`);
    this.search.value = text;
    this.#choose(null);
    this.tables[view].sorted(this.order[view].by, this.order[view].down);
    this.#draw();
  }

  #find(text) {
    this.text[this.view] = text;
    this.tables[this.view].top();
    this.#draw();
  }

  #sort(view, key) {
    const order = this.order[view];
    // Numbers are of interest from the largest down, names from the first on.
    const numbers = ['down', 'up', 'total', 'sessions'].includes(key);
    this.order[view] = order.by === key ? { by: key, down: !order.down } : { by: key, down: numbers };
    this.tables[view].sorted(key, this.order[view].down);
    this.tables[view].top();
    this.#draw();
  }

  #pause() {
    this.paused = !this.paused;
    this.pause.querySelector('.label').textContent = w(this.paused ? 'resume' : 'pause');
    this.#status();
    if (!this.paused) this.#look();
  }

  async #end(session) {
    if (!(await confirmEnd(session, session.name))) return;
    try {
      const ended = await this.api.remove(`/v1/sessions/${encodeURIComponent(session.id)}`);
      toast(w(ended ? 'end.done' : 'end.late'));
    } catch (error) {
      if (error instanceof Refused) return this.#leave();
      toast(w('end.failed', { reason: error instanceof Unreached ? w('enter.unreached') : error.message }));
    }
    return this.#look(true);
  }

  async #break(session) {
    try {
      await this.api.post(`/v1/sessions/${encodeURIComponent(session.id)}/break`);
      toast(w('break.done'));
    } catch (error) {
      if (error instanceof Refused) this.#leave();
      else toast(w('break.failed', { reason: error instanceof Unreached ? w('enter.unreached') : error.message }));
    }
  }
}

new Page().start();
