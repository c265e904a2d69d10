// What the page is made of, under which licences.

import { h } from './dom.js';
import { t } from './strings.js';

/** @param {'vnc'|'serial'} kind */
export function about(kind) {
  const licences = document.querySelector('link[rel=license]').href;
  return [
    h('p', { text: t('about.shortcut') }),
    h('p', { text: t(`about.${kind}`, VERSIONS) }),
    h('p', {}, h('a', { href: licences, target: '_blank', rel: 'noopener', text: t('about.licences') })),
  ];
}
