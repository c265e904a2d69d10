// Small helpers that make elements. No markup is ever parsed from a string.

import { icon } from './icons.js';

/**
 * @param {string} tag
 * @param {Object<string, unknown>} properties `class`, `text`, `on: {event: handler}`, else attributes; true is
 *   an empty attribute, false and null are left out
 * @param {...(Node|string|null)} children
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'on') {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    } else if (name === 'text') {
      element.textContent = value;
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * A button with an icon, a label, or both.
 * @param {{icon?: string, label: string, title?: string, class?: string, quiet?: boolean, run: (e: Event) => void}} o
 *   `quiet`: the label is for screen readers and the tooltip, unless there is room
 */
export function button({ icon: name, label, title, class: kind = '', quiet = false, run }) {
  return h(
    'button',
    { type: 'button', class: `button ${quiet ? 'quiet' : ''} ${kind}`.trim(), title: title ?? label, 'aria-label': label, on: { click: run } },
    name ? icon(name) : null,
    h('span', { class: 'label', text: label }),
  );
}

/** Marks a toggle button. */
export function press(element, on) {
  element.setAttribute('aria-pressed', String(on));
}

let serial = 0;

/** A labelled control: `field('Quality', input)`; `hint` is tied to it for screen readers. */
export function field(label, control, hint = null) {
  control.id ||= `f${(serial += 1)}`;
  const note = hint ? h('p', { class: 'hint', id: `${control.id}h`, text: hint }) : null;
  if (note) control.setAttribute('aria-describedby', note.id);
  return h('div', { class: 'field' }, h('label', { for: control.id, text: label }), control, note);
}

/** @param {[string, string][]} options value and text */
export function select(options, value, change) {
  const element = h('select', { on: { change: () => change(element.value) } });
  for (const [key, text] of options) element.append(h('option', { value: key, text, selected: key === value }));
  return element;
}

/** A slider that shows its value. */
export function slider(label, { min, max, value, change }) {
  const output = h('output', { text: String(value) });
  const input = h('input', { type: 'range', min, max, value, step: 1 });
  input.addEventListener('input', () => {
    output.textContent = input.value;
    change(Number(input.value));
  });
  const row = field(label, input);
  row.classList.add('slider');
  row.append(output);
  return row;
}

/** A check box with its text. */
export function checkbox(label, checked, change, hint = null) {
  const input = h('input', { type: 'checkbox', checked, on: { change: () => change(input.checked) } });
  const row = h('div', { class: 'field check' }, h('label', {}, input, h('span', { text: label })));
  if (hint) row.append(h('p', { class: 'hint', text: hint }));
  return { row, input };
}

/** Hands `blob` to the user as a file. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const anchor = h('a', { href: url, download: name, hidden: true });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  // The click only starts the download; the URL must outlive it a little.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** `name-2026-11-21-1530.ext`, from the console's name. */
export function fileName(name, extension) {
  const now = new Date();
  const two = (n) => String(n).padStart(2, '0');
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const stem = name.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+|[-.]+$/g, '').slice(0, 80) || 'console';
  return `${stem}-${day}-${two(now.getHours())}${two(now.getMinutes())}.${extension}`;
}
