// The two tables: what is in their columns, what they are searched by.

import { button, h } from '../common/dom.js';
import { bytes, duration, rate } from './format.js';
import { Table } from './table.js';
import { named, w } from './words.js';

/** Search looks at these. */
export const FIELDS = {
  sessions: ['id', 'grant', 'target', 'name', 'protocol', 'user', 'project', 'source', 'proxy', 'mode'],
  targets: ['id', 'name', 'project', 'kind', 'state', 'place', 'origin', 'protocols'],
};

/** @param {{open: (row) => void, sort: (key: string) => void, empty: () => string, end: (session) => void}} actions */
export function sessionTable({ open, sort, empty, end }) {
  const columns = [
    { key: 'name', label: w('column.target'), class: 'wide', cell: (row) => row.name || row.target, title: (row) => row.target },
    { key: 'protocol', label: w('column.protocol'), class: 'kind', cell: badge },
    { key: 'user', label: w('column.user'), cell: (row) => row.user ?? '' },
    { key: 'project', label: w('column.project'), class: 'quiet', cell: (row) => row.project ?? '' },
    { key: 'source', label: w('column.source'), class: 'quiet', cell: (row) => row.source ?? '' },
    { key: 'proxy', label: w('column.proxy'), class: 'quiet proxy', cell: (row) => row.proxy ?? '' },
    { key: 'since', label: w('column.since'), class: 'number', cell: (row) => duration(Date.now() - Date.parse(row.since)), title: (row) => row.since },
    { key: 'down', label: w('column.down'), class: 'number', cell: (row) => rate(row.down) },
    { key: 'up', label: w('column.up'), class: 'number up', cell: (row) => rate(row.up) },
    { key: 'total', label: w('column.total'), class: 'number total', cell: (row) => bytes(row.total) },
    { key: 'end', label: '', class: 'last', cell: (row) => endButton(row, end) },
  ];
  return new Table({ name: 'sessions', columns, open, sort, empty });
}

function badge(row) {
  const element = h('span', { class: 'badges' }, h('span', { class: `badge ${row.protocol}`, text: named('protocol', row.protocol) }));
  if (row.view_only) element.append(h('span', { class: 'badge watch', text: w('watch') }));
  element.dataset.of = `${row.protocol} ${row.view_only}`;
  return element;
}

function endButton(row, end) {
  const element = button({ label: w('end'), class: 'danger small', run: (event) => {
    event.stopPropagation();
    end(row);
  } });
  element.dataset.of = row.id;
  return element;
}

/** @param {{open: (row) => void, sort: (key: string) => void, empty: () => string}} actions */
export function targetTable({ open, sort, empty }) {
  const columns = [
    { key: 'name', label: w('column.target'), class: 'wide', cell: (row) => row.name || row.id, title: (row) => row.id },
    { key: 'kind', label: w('column.kind'), class: 'quiet', cell: (row) => row.kind },
    { key: 'state', label: w('column.state'), class: 'kind', cell: state },
    { key: 'protocols', label: w('column.consoles'), cell: (row) => row.consoles.map(([kind]) => named('protocol', kind)).join(', ') },
    { key: 'project', label: w('column.project'), class: 'quiet', cell: (row) => row.project },
    { key: 'place', label: w('column.place'), class: 'quiet', cell: (row) => row.place },
    { key: 'origin', label: w('column.origin'), class: 'quiet', cell: (row) => named('origin', row.origin) },
    { key: 'sessions', label: w('column.sessions'), class: 'number', cell: (row) => (row.sessions > 0 ? String(row.sessions) : '') },
  ];
  return new Table({ name: 'targets', columns, open, sort, empty });
}

function state(row) {
  const element = h('span', { class: `badge state ${row.state}`, text: row.state });
  element.dataset.of = row.state;
  return element;
}

/** The names of a target's console settings. */
const CONSOLES = ['vnc', 'serial', 'spice', 'mks'];

/** A row of the target table from the API's entry. */
export function targetRow({ target, source }) {
  const consoles = CONSOLES.filter((kind) => target[kind]).map((kind) => [kind, place(target[kind])]);
  return {
    id: target.id,
    name: target.name ?? '',
    project: target.project ?? '',
    kind: target.kind ?? '',
    state: target.state ?? '',
    place: [target.region, target.zone].filter(Boolean).join(' / '),
    origin: source ?? '',
    consoles,
    protocols: consoles.map(([kind]) => kind).join(' '),
    sessions: 0,
  };
}

function place(endpoint) {
  return typeof endpoint === 'string' ? endpoint : JSON.stringify(endpoint);
}
