// The life of the page's connection, the same for both consoles: connect, end, say why, try again.

import { ForeignPath } from './address.js';
import { Link } from './link.js';
import { openLink } from './opening.js';
import { describeEnd } from './reason.js';
import { Retry } from './retry.js';
import { t } from './strings.js';

export class Session {
  #timer = 0;
  #url = null;

  /**
   * @param {{bar: import('./bar.js').Bar, notice: import('./notice.js').Notice,
   *   parameters: import('./parameters.js').Parameters, serial: boolean,
   *   attach: (link: Link) => void, ended: () => void, query?: () => Object<string, unknown>}} parts
   *   `query` is what the next connection's URL says beside its token; `attach` takes each new link over; `ended` is called after each end
   */
  constructor(parts) {
    Object.assign(this, parts);
    this.link = null;
    this.retry = new Retry({
      enabled: this.parameters.flag('reconnect', false),
      delay: this.parameters.integer('reconnect_delay', 500, 3_600_000) ?? 5000,
    });
  }

  /** Reads the URL and connects, or says what is wrong with it. */
  start() {
    try {
      this.#url = openLink(this.parameters, { serial: this.serial });
    } catch (error) {
      if (!(error instanceof ForeignPath)) throw error;
      this.#refuse('notice.foreign');
      return;
    }
    if (!this.#url) {
      this.#refuse('notice.nolink');
    } else if (this.parameters.flag('autoconnect', true)) {
      this.connect();
    } else {
      this.bar.show('idle', t('status.idle'));
      const actions = [{ label: t('action.connect'), primary: true, run: () => this.connect() }];
      this.notice.show({ title: t('notice.idle'), text: t('notice.idle.text'), actions });
    }
  }

  connect() {
    clearInterval(this.#timer);
    this.bar.show('connecting', t('status.connecting'));
    this.notice.show({ title: t('notice.connecting'), busy: true });
    const url = new URL(this.#url);
    for (const [name, value] of Object.entries(this.query?.() ?? {})) url.searchParams.set(name, String(value));
    const link = new Link(url);
    this.link = link;
    this.live = false;
    this.explanation = '';
    link.addEventListener('end', ({ detail }) => this.#end(detail));
    this.attach(link);
  }

  /** To be called when the console can be used. */
  connected() {
    this.live = true;
    this.retry.connected();
    this.notice.hide();
    this.bar.show('connected', t('status.connected'));
  }

  disconnect() {
    this.link?.close();
  }

  /** A reason that came by another way than the close frame, such as a failed log-in; the first is shown at the end. */
  explain(text) {
    this.explanation ||= text;
  }

  #refuse(key) {
    this.bar.show('ended', t(key));
    this.notice.show({ title: t(key), text: t(`${key}.text`) });
  }

  #end(detail) {
    const end = describeEnd({ ...detail, live: this.live, reason: detail.reason || this.explanation });
    this.link = null;
    this.ended();
    const wait = this.retry.next(end.retry);
    if (wait !== null) {
      this.#wait(wait, end);
      return;
    }
    this.bar.show('ended', `${t('status.ended')}: ${end.text}`);
    this.notice.show({
      ...end,
      actions: [
        { label: t('action.reconnect'), primary: !end.final, run: () => this.connect() },
        { label: t('action.dismiss'), run: () => this.notice.hide() },
      ],
    });
  }

  #wait(wait, end) {
    const due = Date.now() + wait;
    const text = () => t('status.waiting', { seconds: Math.max(1, Math.ceil((due - Date.now()) / 1000)) });
    const stop = () => {
      clearInterval(this.#timer);
      this.bar.show('ended', `${t('status.ended')}: ${end.text}`);
      this.notice.show({ ...end, actions: [{ label: t('action.reconnect'), primary: true, run: () => this.connect() }] });
    };
    this.bar.show('waiting', text());
    this.notice.show({
      title: t('notice.waiting'),
      text: text(),
      detail: `${end.text} ${end.detail}`,
      busy: true,
      actions: [
        { label: t('action.reconnectNow'), primary: true, run: () => this.connect() },
        { label: t('action.stop'), run: stop },
      ],
    });
    this.#timer = setInterval(() => {
      if (Date.now() >= due) {
        this.connect();
        return;
      }
      this.bar.show('waiting', text());
      this.notice.update(text());
    }, 250);
  }
}
