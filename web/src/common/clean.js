// Text from the target or the network is hostile until it is cleaned.

/** Drops control, format (direction overrides too) and unassigned characters, and cuts to `limit` characters. */
export function clean(text, limit) {
  const visible = String(text ?? '').replace(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ').trim();
  const characters = [...visible];
  return characters.length > limit ? `${characters.slice(0, limit - 1).join('')}\u2026` : visible;
}
