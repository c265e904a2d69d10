// A table of any length: only the rows in sight are elements. Rows are one height, so that their place is arithmetic.

import { h } from '../common/dom.js';

const ROW = 38;

/** Rows above and below what is in sight, so that a flick of the wheel shows no gap. */
const SPARE = 8;

export class Table {
  /**
   * @param {Object} o
   * @param {{key: string, label: string, class?: string, cell: (row) => (Node|string), title?: (row) => string}[]} o.columns
   * @param {(row) => void} o.open the row was chosen
   * @param {(key: string) => void} o.sort a column's head was chosen
   */
  constructor({ name, columns, open, sort, empty }) {
    this.open = open;
    this.empty = empty;
    this.rows = [];
    this.made = new Map();
    this.chosen = null;
    this.head = h('div', { class: 'row head', role: 'row' });
    this.body = h('div', { class: 'rows', role: 'rowgroup' });
    this.nothing = h('p', { class: 'nothing', hidden: true });
    this.scroller = h('div', { class: 'scroller', tabindex: '-1', on: { scroll: () => this.#draw() } }, h('div', { role: 'rowgroup' }, this.head), this.body, this.nothing);
    this.element = h('div', { class: `table ${name}`, role: 'table' }, this.scroller);
    this.#columns(columns, sort);
    new ResizeObserver(() => this.#draw()).observe(this.scroller);
    this.body.addEventListener('keydown', (event) => this.#key(event));
  }

  #columns(columns, sort) {
    this.columns = columns;
    this.heads = new Map();
    for (const column of columns) {
      const label = h('button', { type: 'button', class: 'sort', text: column.label, on: { click: () => sort(column.key) } });
      const cell = h('div', { class: `cell ${column.class ?? ''}`, role: 'columnheader' }, column.label ? label : '');
      this.heads.set(column.key, cell);
      this.head.append(cell);
    }
  }

  /** Hides or shows a column. */
  show(key, visible) {
    this.element.classList.toggle(`without-${key}`, !visible);
  }

  /** Marks the column that the rows are sorted by. */
  sorted(key, down) {
    for (const [name, cell] of this.heads) {
      if (name === key) cell.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      else cell.removeAttribute('aria-sort');
    }
  }

  /** @param {Object[]} rows each with an `id` */
  update(rows) {
    this.rows = rows;
    this.element.setAttribute('aria-rowcount', String(rows.length + 1));
    this.body.style.height = `${rows.length * ROW}px`;
    this.nothing.hidden = rows.length > 0;
    if (rows.length === 0) this.nothing.textContent = this.empty();
    this.#draw(true);
  }

  choose(id) {
    this.chosen = id;
    for (const [key, { element }] of this.made) element.classList.toggle('chosen', key === id);
  }

  top() {
    this.scroller.scrollTop = 0;
  }

  #draw(fresh = false) {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const last = Math.min(this.rows.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW) + SPARE);
    const keep = new Set();
    for (let index = first; index < last; index += 1) {
      const row = this.rows[index];
      keep.add(row.id);
      const made = this.made.get(row.id) ?? this.#make(row);
      if (fresh || made.row !== row) this.#fill(made, row);
      made.element.style.transform = `translateY(${index * ROW}px)`;
      made.element.setAttribute('aria-rowindex', String(index + 2));
    }
    for (const [id, { element }] of this.made) {
      if (!keep.has(id)) {
        element.remove();
        this.made.delete(id);
      }
    }
  }

  #make(row) {
    const cells = this.columns.map((column) => h('div', { class: `cell ${column.class ?? ''}`, role: 'cell' }));
    const element = h('div', { class: 'row', role: 'row', tabindex: '0' }, ...cells);
    element.classList.toggle('chosen', row.id === this.chosen);
    const made = { element, cells, row: null };
    element.addEventListener('click', () => this.open(made.row));
    this.made.set(row.id, made);
    this.body.append(element);
    return made;
  }

  #fill(made, row) {
    made.row = row;
    this.columns.forEach((column, index) => {
      const cell = made.cells[index];
      const content = column.cell(row);
      if (typeof content === 'string') {
        if (cell.textContent !== content || cell.firstElementChild) cell.textContent = content;
        const title = column.title?.(row) ?? content;
        if (cell.title !== title) cell.title = title;
      } else if (!cell.firstElementChild || cell.dataset.of !== content.dataset.of) {
        cell.dataset.of = content.dataset.of;
        cell.replaceChildren(content);
      }
    });
  }

  #key(event) {
    const made = [...this.made.values()].find(({ element }) => element === event.target);
    if (!made) return;
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.open(made.row);
      return;
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = this.rows[this.rows.indexOf(made.row) + step];
    const element = next && this.made.get(next.id)?.element;
    element?.focus({ preventScroll: false });
    element?.scrollIntoView({ block: 'nearest' });
  }
}
