// One WebSocket to the console. We make it ourselves, for noVNC would hide the close code and reason, and would
// take what the proxy says beside the console's bytes for the console's.

/** Text frames are then JSON messages between the page and the proxy, never the console's. */
const CONTROL = 'consolegate.v1';

/**
 * Events: `open`; `data` with a frame of the console's, bytes or text; `news` with a message of the proxy's;
 * `end` with `detail: {code, reason, opened, byUser}`, once.
 */
export class Link extends EventTarget {
  /** @param {URL} url */
  constructor(url) {
    super();
    this.opened = false;
    this.byUser = false;
    this.socket = new WebSocket(url, [CONTROL, 'binary']);
    this.socket.binaryType = 'arraybuffer';
    this.socket.addEventListener('open', () => {
      this.opened = true;
      this.dispatchEvent(new Event('open'));
    });
    this.socket.addEventListener('message', ({ data }) => this.#take(data));
    this.socket.addEventListener('close', ({ code, reason }) => this.#end(code, reason));
  }

  /** Says something to the proxy, if it speaks our control channel. @param {{type: string}} message */
  say(message) {
    const { protocol, readyState } = this.socket;
    if (protocol === CONTROL && readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** The user's own wish; the `end` event says so. */
  close() {
    this.byUser = true;
    this.socket.close(1000);
  }

  #take(data) {
    const controlled = typeof data === 'string' && this.socket.protocol === CONTROL;
    const detail = controlled ? JSON.parse(data) : data;
    this.dispatchEvent(new CustomEvent(controlled ? 'news' : 'data', { detail }));
  }

  #end(code, reason) {
    const { opened, byUser } = this;
    this.dispatchEvent(new CustomEvent('end', { detail: { code, reason, opened, byUser } }));
  }
}

/** The link as noVNC wants it: like a WebSocket, with the console's bytes alone. */
export class RawChannel {
  binaryType = 'arraybuffer';
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  #socket;

  /** @param {Link} link */
  constructor(link) {
    this.#socket = link.socket;
    for (const name of ['open', 'close', 'error']) {
      this.#socket.addEventListener(name, (event) => this[`on${name}`]?.(event));
    }
    link.addEventListener('data', ({ detail }) => this.onmessage?.({ data: detail }));
  }

  get protocol() {
    return this.#socket.protocol;
  }

  get readyState() {
    return this.#socket.readyState;
  }

  send(data) {
    this.#socket.send(data);
  }

  close(code, reason) {
    this.#socket.close(code, reason);
  }
}
