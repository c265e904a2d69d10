// Asks before a session is ended.

import { button, h } from '../common/dom.js';
import { w } from './words.js';

/** @returns {Promise<boolean>} */
export function confirmEnd(session, name) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { class: 'confirm' });
    const answer = (yes) => {
      dialog.close();
      dialog.remove();
      resolve(yes);
    };
    const keep = button({ label: w('end.no'), run: () => answer(false) });
    const text = w('end.text', { user: session.user || session.source, target: name || session.target });
    dialog.append(
      h('h2', { text: w('end.title') }),
      h('p', { text }),
      h('div', { class: 'actions' }, keep, button({ label: w('end.yes'), class: 'primary bad', run: () => answer(true) })),
    );
    dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      answer(false);
    });
    document.body.append(dialog);
    dialog.showModal();
    // Enter, pressed by mistake, ends nothing.
    keep.focus();
  });
}
