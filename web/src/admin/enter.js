// The door: asks for the admin token.

import { button, field, h } from '../common/dom.js';
import { Refused, Unreached } from './api.js';
import { w } from './words.js';

/** @param {(token: string) => Promise<void>} enter */
export function door(enter) {
  const input = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
  const wrong = h('p', { class: 'wrong', role: 'alert' });
  const go = button({ label: w('enter.go'), class: 'primary', run: () => {} });
  go.type = 'submit';
  const form = h(
    'form',
    { class: 'box' },
    h('h1', { text: w('enter.title') }),
    h('p', { class: 'hint', text: w('enter.text') }),
    field(w('enter.token'), input),
    wrong,
    go,
  );
  form.addEventListener('submit', async (event) => {
    // Never sent as a form: the token would be in a URL.
    event.preventDefault();
    wrong.textContent = '';
    go.disabled = true;
    try {
      await enter(input.value.trim());
      input.value = '';
    } catch (error) {
      wrong.textContent = error instanceof Refused ? w('enter.wrong') : error instanceof Unreached ? w('enter.unreached') : error.message;
      input.select();
    } finally {
      go.disabled = false;
    }
  });
  return { element: h('main', { class: 'door' }, form), focus: () => input.focus() };
}
