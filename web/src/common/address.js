// Where the console's WebSocket is: below the page's own directory, never on another origin.

/** Thrown for a `path` that leads elsewhere; the message is for the user. */
export class ForeignPath extends Error {}

/**
 * @param {string} page the page's URL
 * @param {{token?: string|null, path?: string|null}} link what the URL, or an earlier load of it, gave
 * @param {Object<string, string>} extra more query parameters
 * @returns {URL} of scheme ws or wss
 */
export function consoleAddress(page, { token, path }, extra = {}) {
  const directory = new URL('.', page);
  directory.search = '';
  directory.hash = '';
  let url;
  try {
    url = new URL(path ?? '', directory);
  } catch {
    throw new ForeignPath();
  }
  // The protocol is compared too: a blob: URL has the origin of its maker.
  if (url.origin !== directory.origin || url.protocol !== directory.protocol) throw new ForeignPath();
  url.username = '';
  url.password = '';
  url.hash = '';
  if (token && !url.searchParams.has('token')) url.searchParams.set('token', token);
  for (const [name, value] of Object.entries(extra)) url.searchParams.set(name, value);
  url.protocol = directory.protocol === 'https:' ? 'wss:' : 'ws:';
  return url;
}

/**
 * The page's URL without what opens the console, for the address bar and the history.
 * @param {boolean} keepKey leave an empty `token=`: the serial page is served only where that key is
 */
export function withoutSecrets(page, keepKey) {
  const url = new URL(page);
  strip(url.searchParams);
  if (keepKey) url.searchParams.set('token', '');
  const fragment = new URLSearchParams(url.hash.replace(/^#\??/, ''));
  if (strip(fragment)) url.hash = fragment.toString();
  return url.href;
}

function strip(parameters) {
  const found = parameters.has('token') || parameters.has('path');
  parameters.delete('token');
  parameters.delete('path');
  return found;
}
