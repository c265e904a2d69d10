// What the browser keeps: the link for a reload of this tab, and the user's preferences for next time.
// Storage may be refused (a sandboxed frame, a private window); the page then works without.

const PREFIX = 'consolegate';

function attempt(action) {
  try {
    return action();
  } catch {
    return null;
  }
}

/** The token and path of this page, kept for a reload of this tab under the page's path. */
export const link = {
  save(value) {
    attempt(() => sessionStorage.setItem(`${PREFIX}:${location.pathname}`, JSON.stringify(value)));
  },
  /** @returns {{token: string|null, path: string|null}|null} */
  load() {
    return attempt(() => JSON.parse(sessionStorage.getItem(`${PREFIX}:${location.pathname}`)));
  },
};

/** Small settings: font size, theme, keyboard layout. */
export const preferences = {
  get(name, fallback) {
    const stored = attempt(() => JSON.parse(localStorage.getItem(`${PREFIX}.${name}`)));
    return stored ?? fallback;
  },
  set(name, value) {
    attempt(() => localStorage.setItem(`${PREFIX}.${name}`, JSON.stringify(value)));
  },
};
