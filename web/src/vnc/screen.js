// The machine's screen: noVNC's RFB object, its options, and the last picture once it has ended.

import RFB from 'novnc/core/rfb.js';
import { initLogging } from 'novnc/core/util/logging.js';

import { clean } from '../common/clean.js';
import { h } from '../common/dom.js';
import { RawChannel } from '../common/link.js';

/** The longest desktop name shown. */
const NAME_LIMIT = 160;

/**
 * Events: `connect`; `name`, `clipboard`, `explain` with a text as detail; `credentials` with the kinds wanted;
 * `bell`; `clipping` with a truth value; `unverified` and `broken`, reasons for an end that follows.
 */
export class Screen extends EventTarget {
  #rfb = null;
  #canvas = null;

  /** @param {import('../common/parameters.js').Parameters} parameters */
  constructor(parameters) {
    super();
    this.parameters = parameters;
    this.element = h('main', { class: 'stage', id: 'stage' });
    this.connected = false;
    this.settings = {
      scaling: 'scale', quality: 6, compression: 2, viewOnly: false, dot: false, pan: false,
    };
    const level = parameters.choice('logging', ['error', 'warn', 'info', 'debug', 'none']);
    initLogging(level ?? 'warn');
  }

  /** @param {import('../common/link.js').Link} link */
  attach(link) {
    this.element.querySelector('.last')?.remove();
    const rfb = new RFB(this.element, new RawChannel(link), {
      shared: this.parameters.flag('shared', true),
      repeaterID: this.parameters.text('repeaterID') ?? '',
    });
    this.#rfb = rfb;
    this.#canvas = this.element.querySelector('canvas');
    this.#canvas.setAttribute('role', 'img');
    // noVNC lets held keys go when the window loses the focus; when only the screen does, Ctrl would stay down.
    this.#canvas.addEventListener('blur', () => window.dispatchEvent(new Event('blur')));
    rfb.background = 'transparent';
    const tell = (name, detail) => this.dispatchEvent(new CustomEvent(name, { detail }));
    rfb.addEventListener('connect', () => {
      this.connected = true;
      this.set({});
      tell('connect');
      this.focus();
    });
    rfb.addEventListener('disconnect', ({ detail }) => {
      // Not clean, and yet not closed by the other side: noVNC gave up on what it received.
      if (!detail.clean && link.socket.readyState !== WebSocket.CLOSED) tell('broken');
      this.#ended();
    });
    rfb.addEventListener('desktopname', ({ detail }) => tell('name', clean(detail.name, NAME_LIMIT)));
    rfb.addEventListener('clipboard', ({ detail }) => tell('clipboard', detail.text));
    rfb.addEventListener('bell', () => tell('bell'));
    rfb.addEventListener('clippingviewport', ({ detail }) => {
      rfb.dragViewport = this.settings.pan && detail;
      tell('clipping', detail);
    });
    rfb.addEventListener('credentialsrequired', ({ detail }) => tell('credentials', detail.types));
    rfb.addEventListener('securityfailure', ({ detail }) => tell('explain', clean(detail.reason, NAME_LIMIT)));
    rfb.addEventListener('serververification', () => {
      tell('unverified');
      rfb.disconnect();
    });
    this.set({});
  }

  /** Changes settings and applies them all. */
  set(changes) {
    Object.assign(this.settings, changes);
    const rfb = this.#rfb;
    if (!rfb) return;
    const { scaling, quality, compression, viewOnly, dot, pan } = this.settings;
    // A touch screen cannot use scroll bars while its drags go to the machine: clip, and let the user pan.
    rfb.clipViewport = scaling === 'off' && matchMedia('(pointer: coarse)').matches;
    rfb.scaleViewport = scaling !== 'off';
    rfb.resizeSession = scaling === 'remote';
    rfb.dragViewport = pan && rfb.clippingViewport;
    rfb.qualityLevel = quality;
    rfb.compressionLevel = compression;
    rfb.viewOnly = viewOnly;
    rfb.showDotCursor = dot;
  }

  /** @param {number} keysym @param {string|null} code @param {boolean} [down] both, if left out */
  key(keysym, code, down) {
    this.#rfb?.sendKey(keysym, code, down);
  }

  ctrlAltDel() {
    this.#rfb?.sendCtrlAltDel();
  }

  /** To the machine's clipboard. */
  copyTo(text) {
    this.#rfb?.clipboardPasteFrom(text);
  }

  logIn(credentials) {
    this.#rfb?.sendCredentials(credentials);
  }

  focus() {
    if (this.connected) this.#rfb?.focus({ preventScroll: true });
  }

  /** Whether a click or touch moves the keyboard focus to the screen. */
  set focusOnClick(on) {
    if (this.#rfb) this.#rfb.focusOnClick = on;
  }

  /** @returns {Promise<Blob|null>} the picture as PNG, the last one after the end */
  picture() {
    const canvas = this.element.querySelector('canvas');
    return canvas?.width ? new Promise((done) => canvas.toBlob(done, 'image/png')) : Promise.resolve(null);
  }

  /** noVNC takes its canvas away; the last picture often says why the machine stopped, so it stays. */
  #ended() {
    this.#rfb = null;
    this.connected = false;
    const { width, height } = this.#canvas;
    if (!width || !height) return;
    const last = h('canvas', { class: 'last', width, height });
    last.classList.toggle('actual', this.settings.scaling === 'off');
    last.getContext('2d').drawImage(this.#canvas, 0, 0);
    this.element.append(last);
  }
}
