// What the line has said, byte for byte, as far back as this page keeps it: for a download with all its colours.

/** A long boot log is a megabyte; with more than this a page would feel it. */
const MOST = 16 * 1024 * 1024;

export class Log {
  #chunks = [];
  #size = 0;

  /** @param {Uint8Array} bytes */
  add(bytes) {
    this.#chunks.push(bytes);
    this.#size += bytes.length;
    while (this.#size > MOST) this.#size -= this.#chunks.shift().length;
  }

  get blob() {
    return new Blob(this.#chunks, { type: 'application/octet-stream' });
  }
}
