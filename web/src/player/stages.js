// Where a recording is shown: a terminal, or a screen. Both can begin anew and take bytes.

import RFB from 'novnc/core/rfb.js';
import { initLogging } from 'novnc/core/util/logging.js';

import { h } from '../common/dom.js';
import { Terminal } from '../serial/terminal.js';

initLogging('error');

/** A line that nobody is at: what the terminal answers goes nowhere. */
class Nobody extends EventTarget {
  send() {}

  sendBytes() {}
}

export class TextStage {
  constructor() {
    this.terminal = new Terminal(new Nobody());
    this.terminal.xterm.options.disableStdin = true;
    this.element = this.terminal.element;
  }

  open() {
    this.terminal.open();
  }

  restart() {
    this.terminal.xterm.reset();
  }

  write(bytes) {
    this.terminal.xterm.write(bytes);
  }

  close() {
    this.terminal.xterm.dispose();
  }
}

/** What noVNC takes for a connection. What it sends was said long ago, and goes nowhere. */
class Tape {
  #waiting = [];
  #open = null;
  binaryType = 'arraybuffer';
  protocol = '';
  readyState = 'connecting';
  onmessage = null;
  onerror = null;
  onclose = null;

  get onopen() {
    return this.#open;
  }

  /** noVNC connects a moment after it was made, and sets this with all the others. */
  set onopen(handler) {
    this.#open = handler;
    queueMicrotask(() => this.#begin());
  }

  #begin() {
    if (this.readyState !== 'connecting') return;
    this.readyState = 'open';
    this.#open?.();
    for (const bytes of this.#waiting.splice(0)) this.deliver(bytes);
  }

  send() {}

  close() {
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    // As a connection would: not before noVNC waits for it.
    queueMicrotask(() => this.onclose?.({ code: 1000, reason: '', wasClean: true }));
  }

  deliver(bytes) {
    if (this.readyState === 'connecting') this.#waiting.push(bytes);
    else if (this.readyState === 'open') this.onmessage?.({ data: bytes.slice().buffer });
  }
}

/** The length of RFB's version line, which noVNC wants to come by itself. */
const VERSION = 12;

export class ScreenStage extends EventTarget {
  #rfb = null;
  #tape = null;
  #begun = false;

  constructor() {
    super();
    this.element = h('div', { class: 'screen' });
  }

  open() {
    this.restart();
  }

  restart() {
    this.close();
    this.#tape = new Tape();
    this.#begun = false;
    this.#rfb = new RFB(this.element, this.#tape, { shared: true });
    this.#rfb.viewOnly = true;
    this.#rfb.focusOnClick = false;
    this.#rfb.scaleViewport = true;
    const tape = this.#tape;
    this.#rfb.addEventListener('disconnect', ({ detail }) => {
      if (!detail.clean && this.#tape === tape) this.dispatchEvent(new Event('broken'));
    });
  }

  write(bytes) {
    if (!this.#tape) return;
    const rest = this.#begun ? 0 : VERSION;
    this.#begun = true;
    if (rest) this.#tape.deliver(bytes.subarray(0, rest));
    this.#tape.deliver(bytes.subarray(rest));
  }

  close() {
    const rfb = this.#rfb;
    [this.#rfb, this.#tape] = [null, null];
    rfb?.disconnect();
    this.element.replaceChildren();
  }
}
