// asciicast v2, as the recorder writes it: what the console sent, and when. docs/recordings.md has the format.

const encoder = new TextEncoder();

function decode(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/**
 * @param {Uint8Array} bytes the file; its last line may be cut off
 * @returns {{width: number, height: number, title: string, events: {at: number, bytes: Uint8Array}[]}} `at` in
 *   milliseconds
 */
export function parseCast(bytes) {
  const lines = new TextDecoder().decode(bytes).split('\n');
  const header = JSON.parse(lines.shift());
  if (header.version !== 2) throw new Error('This is no asciicast of version 2.');
  const events = [];
  let last = null;
  lines.forEach((line, n) => {
    if (!line.trim()) return;
    let event;
    try {
      event = JSON.parse(line);
    } catch (error) {
      if (n === lines.length - 1) return; // cut off by a crash
      throw error;
    }
    const [seconds, code, data] = event;
    if (code === 'o') {
      last = { at: seconds * 1000, bytes: encoder.encode(data) };
      events.push(last);
    } else if (code === 'b') {
      // The bytes of the event before, where they are no UTF-8.
      if (last) last.bytes = decode(data);
    } else {
      last = null;
    }
  });
  return { width: header.width, height: header.height, title: header.title ?? '', events };
}
