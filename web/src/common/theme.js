// Light, dark, or as the system says; remembered.

import { preferences } from './store.js';

const dark = matchMedia('(prefers-color-scheme: dark)');

/** Event `change`, when the colours in use change. */
class Theme extends EventTarget {
  constructor() {
    super();
    this.choice = preferences.get('theme', 'auto');
    dark.addEventListener('change', () => this.#apply());
    this.#apply();
  }

  get isDark() {
    return this.choice === 'auto' ? dark.matches : this.choice === 'dark';
  }

  /** @param {'auto'|'light'|'dark'} choice */
  choose(choice) {
    this.choice = choice;
    preferences.set('theme', choice);
    this.#apply();
  }

  #apply() {
    document.documentElement.dataset.theme = this.isDark ? 'dark' : 'light';
    this.dispatchEvent(new Event('change'));
  }
}

export const theme = new Theme();
