// What the page's URL asks for: noVNC's parameters, from the query or the fragment.

/** Unknown names are never looked at; `host`, `port`, `encrypt` and `password` are unknown on purpose. */
export class Parameters {
  /** @param {string} href the page's URL; the fragment wins over the query, a later value over an earlier one */
  constructor(href) {
    const url = new URL(href);
    this.values = new Map([
      ...new URLSearchParams(url.search),
      ...new URLSearchParams(url.hash.replace(/^#\??/, '')),
    ]);
  }

  /** @returns {string|null} */
  text(name) {
    return this.values.get(name) ?? null;
  }

  /** As noVNC reads it: present without a value is true; `0`, `no`, `false` and `off` are false. */
  flag(name, fallback) {
    const value = this.text(name);
    return value === null ? fallback : !['0', 'no', 'false', 'off'].includes(value.toLowerCase());
  }

  /** @returns {number|null} null if absent or not a whole number; else kept within bounds */
  integer(name, min, max) {
    const value = this.text(name);
    return value !== null && /^\d{1,9}$/.test(value) ? Math.min(max, Math.max(min, Number(value))) : null;
  }

  /** @returns {string|null} the value if it is one of `choices` */
  choice(name, choices) {
    const value = this.text(name)?.toLowerCase();
    return choices.includes(value) ? value : null;
  }
}
