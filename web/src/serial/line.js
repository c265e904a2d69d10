// The serial line: bytes out in binary frames, at a pace it can take; bytes or text in.

/** Bytes a frame and milliseconds between frames. `slow` is 8 kB/s, less than a line of 115200 baud carries. */
const PACES = { fast: [4096, 4], slow: [64, 8] };

/** What may wait to be sent: a large paste, and a bound. */
const LIMIT = 4 * 1024 * 1024;

/** Events: `data` with the frame's bytes or text as detail; `refused` when somebody types who may not. */
export class Line extends EventTarget {
  #encoder = new TextEncoder();
  #link = null;
  #waiting = [];
  #size = 0;
  #timer = 0;
  /** Where in the line's output the next byte is, as the proxy counts; null before it said so. */
  #offset = null;
  /** Which output that is: another begins when the proxy, or the line's server, is a new one. */
  #output = null;

  constructor() {
    super();
    this.pace = 'fast';
    this.mayType = () => true;
  }

  /** @param {import('../common/link.js').Link} link */
  attach(link) {
    this.#drop();
    this.#link = link;
    link.addEventListener('data', ({ detail: data }) => {
      const detail = typeof data === 'string' ? data : new Uint8Array(data);
      this.skip(detail.length);
      this.dispatchEvent(new CustomEvent('data', { detail }));
    });
    link.addEventListener('end', () => this.#drop());
  }

  /** The next byte is that one. @param {{offset: number, line: string|null}} place */
  goOn({ offset, line }) {
    [this.#offset, this.#output] = [offset, line];
  }

  /** So many bytes have come, or never will. */
  skip(count) {
    if (this.#offset !== null) this.#offset += count;
  }

  /** What a URL says to go on behind what has come. */
  get place() {
    if (this.#offset === null) return {};
    return this.#output === null ? { offset: this.#offset } : { offset: this.#offset, line: this.#output };
  }

  /** @param {string} text @returns {boolean} false if there is no connection, or too much waits already */
  send(text) {
    return this.sendBytes(this.#encoder.encode(text));
  }

  /** What the terminal itself answers to the machine: one viewer's answer is enough, and nobody is told of the others'. */
  reply(text) {
    if (this.mayType()) this.send(text);
  }

  /** @param {Uint8Array} bytes */
  sendBytes(bytes) {
    if (this.#link?.socket.readyState !== WebSocket.OPEN || this.#size + bytes.length > LIMIT) return false;
    if (!this.mayType()) {
      this.dispatchEvent(new Event('refused'));
      return false;
    }
    this.#waiting.push(bytes);
    this.#size += bytes.length;
    if (!this.#timer) this.#next();
    return true;
  }

  #next() {
    const [most, pause] = PACES[this.pace];
    this.#timer = 0;
    const first = this.#waiting[0];
    if (!first || this.#link?.socket.readyState !== WebSocket.OPEN) return;
    const part = first.subarray(0, most);
    this.#link.socket.send(part);
    this.#size -= part.length;
    if (part.length < first.length) this.#waiting[0] = first.subarray(part.length);
    else this.#waiting.shift();
    // A single key press leaves at once and starts no timer that the next one would wait for.
    if (this.#waiting.length) this.#timer = setTimeout(() => this.#next(), pause);
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#waiting = [];
    this.#size = 0;
    this.#link = null;
  }
}
