// Why a console ended, in words. WebSocket close codes: RFC 6455 section 7.4.1 and the IANA registry.

import { clean } from './clean.js';
import { t } from './strings.js';

/** After these a new connection with the same link cannot help. */
const FINAL = new Set([1002, 1003, 1007, 1008, 1009, 1010]);

const WORDS = new Set([1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1011, 1012, 1013, 1015]);

/**
 * @param {{code: number, reason: string, opened: boolean, live?: boolean, byUser?: boolean}} end `opened`: the
 *   WebSocket was; `live`: the console could be used
 * @returns {{title: string, text: string, detail: string, retry: boolean, final: boolean}} `retry`: worth trying by itself;
 *   `final`: not even worth asking for
 */
export function describeEnd({ code, reason, opened, live = opened, byUser = false }) {
  const said = clean(reason, 200);
  if (byUser) return { title: t('end.title.user'), text: t('end.user'), detail: '', retry: false, final: false };
  if (!opened) {
    return { title: t('end.title.failed'), text: said || t('end.unreachable'), detail: detail(code), retry: true, final: false };
  }
  const words = t(code === 1006 ? 'end.lost' : WORDS.has(code) ? `end.${code}` : 'end.other');
  const closed = code === 1000 || code === 1005;
  return {
    title: t(!live ? 'end.title.failed' : closed ? 'end.title.closed' : 'end.title.ended'),
    text: said ? sentence(said) : words,
    detail: said ? `${words} ${detail(code)}` : detail(code),
    retry: !FINAL.has(code),
    final: FINAL.has(code),
  };
}

function detail(code) {
  return t('end.code', { code });
}

function sentence(text) {
  const start = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}
