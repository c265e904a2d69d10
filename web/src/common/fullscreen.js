// Full screen, with the keys the system would otherwise take where the browser allows that.

import { button } from './dom.js';
import { setIcon } from './icons.js';
import { t } from './strings.js';

const root = document.documentElement;
const current = () => document.fullscreenElement ?? document.webkitFullscreenElement ?? null;

async function enter() {
  await (root.requestFullscreen ?? root.webkitRequestFullscreen).call(root);
  // Escape, Alt+Tab and Ctrl+W then reach the console. Chromium only; elsewhere they stay with the browser.
  await navigator.keyboard?.lock?.().catch(() => {});
}

async function leave() {
  navigator.keyboard?.unlock?.();
  await (document.exitFullscreen ?? document.webkitExitFullscreen).call(document);
}

/** @returns {HTMLButtonElement|null} null where the browser has no full screen (iPhone, some frames) */
export function fullscreenButton(after) {
  if (!(document.fullscreenEnabled ?? document.webkitFullscreenEnabled)) return null;
  const toggle = async () => {
    await (current() ? leave() : enter()).catch(() => {});
    after();
  };
  const element = button({ icon: 'full', label: t('bar.full'), quiet: true, run: toggle });
  const show = () => {
    setIcon(element, current() ? 'exit' : 'full');
    const label = t(current() ? 'bar.unfull' : 'bar.full');
    element.title = label;
    element.setAttribute('aria-label', label);
    element.querySelector('.label').textContent = label;
  };
  document.addEventListener('fullscreenchange', show);
  document.addEventListener('webkitfullscreenchange', show);
  return element;
}
