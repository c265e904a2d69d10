// The form for machines whose VNC server asks the user for a password itself.

import { button, field, h } from '../common/dom.js';
import { t } from '../common/strings.js';

/**
 * @param {('username'|'password'|'target')[]} kinds
 * @param {(credentials: Object<string, string>) => void} send
 */
export function loginForm(kinds, send) {
  const inputs = ['username', 'password', 'target']
    .filter((kind) => kinds.includes(kind))
    .map((kind) => [kind, h('input', { type: kind === 'password' ? 'password' : 'text', autocomplete: 'off', maxlength: 256 })]);
  const submit = button({ label: t('login.send'), class: 'primary', run: () => {} });
  submit.type = 'submit';
  return h(
    'form',
    {
      class: 'login',
      on: {
        submit: (event) => {
          event.preventDefault();
          send(Object.fromEntries(inputs.map(([kind, input]) => [kind, input.value])));
        },
      },
    },
    ...inputs.map(([kind, input]) => field(t(`login.${kind}`), input)),
    submit,
  );
}
