// Reads the link from the page's URL, hides it from the address bar, and says where to connect.

import { consoleAddress, withoutSecrets } from './address.js';
import { link as stored } from './store.js';

/**
 * @param {import('./parameters.js').Parameters} parameters
 * @param {{serial: boolean}} kind
 * @returns {URL|null} null if neither the URL nor this tab's memory has a token or a path
 * @throws {import('./address.js').ForeignPath}
 */
export function openLink(parameters, { serial }) {
  const page = location.href;
  let link = { token: parameters.text('token') || null, path: parameters.text('path') || null };
  if (link.token || link.path) {
    stored.save(link);
  } else {
    link = stored.load();
  }
  history.replaceState(null, '', withoutSecrets(page, serial));
  if (!link?.token && !link?.path) return null;
  return consoleAddress(page, link, serial ? { console: 'serial' } : {});
}
