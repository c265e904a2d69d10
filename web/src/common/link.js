// One WebSocket to the console. We make it ourselves, for noVNC would hide the close code and reason.

/** Events: `open`; `end` with `detail: {code, reason, opened, byUser}`, once. */
export class Link extends EventTarget {
  /** @param {URL} url */
  constructor(url) {
    super();
    this.opened = false;
    this.byUser = false;
    this.socket = new WebSocket(url, ['binary']);
    this.socket.binaryType = 'arraybuffer';
    this.socket.addEventListener('open', () => {
      this.opened = true;
      this.dispatchEvent(new Event('open'));
    });
    this.socket.addEventListener('close', ({ code, reason }) => this.#end(code, reason));
  }

  /** The user's own wish; the `end` event says so. */
  close() {
    this.byUser = true;
    this.socket.close(1000);
  }

  #end(code, reason) {
    const { opened, byUser } = this;
    this.dispatchEvent(new CustomEvent('end', { detail: { code, reason, opened, byUser } }));
  }
}
