// Which rows are shown, and in which order.

/** What a row is searched by: every word has to be in one of its fields. */
export function matches(row, words, fields) {
  return words.every((word) => fields.some((field) => String(row[field] ?? '').toLowerCase().includes(word)));
}

/** @returns {string[]} */
export function words(text) {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

/**
 * @param {Object[]} rows
 * @param {{text: string, fields: string[], by: string, down: boolean}} how `by` is a field; ties keep the id's order, so
 *   that rows do not jump about
 */
export function arrange(rows, { text, fields, by, down }) {
  const wanted = words(text);
  const found = wanted.length === 0 ? rows.slice() : rows.filter((row) => matches(row, wanted, fields));
  const sign = down ? -1 : 1;
  return found.sort((a, b) => sign * compare(a[by], b[by]) || compare(a.id, b.id));
}

function compare(a, b) {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  const [left, right] = [String(a ?? ''), String(b ?? '')];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
