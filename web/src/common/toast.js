// A short message that goes away by itself.

import { h } from './dom.js';

/** Long enough to read a line. */
const SHOWN_MS = 3500;

const element = h('div', { class: 'toast', role: 'status', hidden: true });
let timer = 0;

/** @param {string} text */
export function toast(text) {
  if (!element.isConnected) document.body.append(element);
  element.textContent = text;
  element.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => {
    element.hidden = true;
  }, SHOWN_MS);
}
