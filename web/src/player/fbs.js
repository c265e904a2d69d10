// FBS 001.001, as the recorder writes it: what an RFB server sent, and when. docs/recordings.md has the format.

const MAGIC = 'FBS 001.00';

/** What noVNC asks for, and reads whatever it got: 32 bits, little-endian, red in the first byte. */
const NOVNC = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16];

/** Where ServerInit has its pixel format, behind the version and the security type. */
const FORMAT = 12 + 4 + 4;

/**
 * @param {Uint8Array} bytes the file; its last record may be cut off
 * @returns {{at: number, bytes: Uint8Array}[]} `at` in milliseconds
 */
export function parseFbs(bytes) {
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  if (!head.startsWith(MAGIC)) throw new Error('This is no FBS recording.');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const events = [];
  let at = 12;
  while (at + 4 <= bytes.length) {
    const length = view.getUint32(at);
    const padded = Math.ceil(length / 4) * 4;
    if (at + 4 + padded + 4 > bytes.length) break;
    events.push({ at: view.getUint32(at + 4 + padded), bytes: bytes.subarray(at + 4, at + 4 + length) });
    at += 4 + padded + 4;
  }
  return events;
}

/** Whether noVNC can show it: whether it was recorded with pixels as noVNC's, from the beginning to the end. */
export function suitsNovnc(events, journal = '') {
  const first = events[0]?.bytes ?? new Uint8Array();
  const same = first.length > FORMAT + NOVNC.length && NOVNC.every((byte, n) => first[FORMAT + n] === byte);
  return same && !journal.includes('"pixel_format"');
}
