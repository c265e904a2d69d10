// Who else is at the console and what this viewer may do there, as the proxy tells it, in the bar's badges.

import { clean } from './clean.js';
import { t } from './strings.js';
import { toast } from './toast.js';

/** The longest user name shown. */
const NAME_LIMIT = 60;

/** @typedef {{role: 'writer'|'watcher', writer: string|null, viewers: number, viewOnly: boolean,
 *   recording: boolean, breaks: boolean, resize: boolean, pen: boolean}} Company
 *   `pen`: only one viewer types, and the proxy says who */

/** Without a proxy's word: alone, and free to type. */
const ALONE = {
  role: 'writer', writer: null, viewers: 1, viewOnly: false, recording: false, breaks: false, resize: false, pen: false,
};

/** Events: `change`; `asked` with the name of who wants the pen; `gap` with a number of bytes;
 * `place` with where in the console's output the next byte is: `{offset, line}`. */
export class Company extends EventTarget {
  #link = null;

  /** @param {import('./bar.js').Bar} bar */
  constructor(bar) {
    super();
    this.bar = bar;
    this.state = { ...ALONE };
  }

  /** @param {import('./link.js').Link} link */
  attach(link) {
    this.#link = link;
    this.#set(ALONE);
    link.addEventListener('news', ({ detail }) => this.#hear(detail));
    link.addEventListener('end', () => this.#set(ALONE));
  }

  /** @param {{type: string}} message */
  say(message) {
    this.#link?.say(message);
  }

  /** Whether what is typed here goes to the console. A pen that nobody holds is taken by typing. */
  get mayType() {
    const { viewOnly, role, pen, writer } = this.state;
    return !viewOnly && (role === 'writer' || (pen && writer === null));
  }

  #hear(news) {
    const user = clean(news.user, NAME_LIMIT);
    switch (news.type) {
      case 'hello':
        this.#set({
          ...ALONE,
          role: news.role,
          viewers: news.viewers,
          viewOnly: news.view_only,
          recording: news.recording,
          breaks: news.break,
          resize: news.resize,
        });
        this.#tell('place', { offset: news.offset, line: news.line ?? null });
        break;
      case 'role':
        this.#set({ role: news.role, writer: news.writer === null ? null : clean(news.writer, NAME_LIMIT), pen: true });
        break;
      case 'joined':
      case 'left':
        this.#set({ viewers: news.viewers });
        toast(t(`company.${news.type}`, { user }));
        break;
      case 'recording':
        this.#set({ recording: news.recording });
        toast(t(news.recording ? 'company.recording.title' : 'company.recording.stopped'));
        break;
      case 'asked':
        this.#tell('asked', user);
        break;
      case 'gap':
        this.#tell('gap', news.bytes);
        break;
      default: // of a later version
    }
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #set(changes) {
    Object.assign(this.state, changes);
    const { viewOnly, recording, viewers } = this.state;
    this.bar.badge('view-only', viewOnly ? t('company.viewOnly') : null, t('company.viewOnly.title'));
    this.bar.badge('recording', recording ? t('company.recording') : null, t('company.recording.title'));
    this.bar.badge('viewers', viewers > 1 ? t('company.viewers', { viewers }) : null, t('company.viewers.title'));
    document.documentElement.classList.toggle('watching', !this.mayType);
    this.#tell('change');
  }
}
