// The admin API: the token, kept for this tab, and what is asked with it.

const KEY = 'consolegate:admin';

/** The token was refused, or there is none. */
export class NotAllowed extends Error {}

export const token = {
  get value() {
    try {
      return sessionStorage.getItem(KEY) ?? '';
    } catch {
      return this.held ?? '';
    }
  },
  set value(text) {
    this.held = text;
    try {
      if (text) sessionStorage.setItem(KEY, text);
      else sessionStorage.removeItem(KEY);
    } catch {
      // Without storage it is asked for again after a reload.
    }
  },
};

async function ask(path, method = 'GET') {
  if (!token.value) throw new NotAllowed();
  const answer = await fetch(path, { method, headers: { Authorization: `Bearer ${token.value}` }, cache: 'no-store' });
  if (answer.status === 401) {
    token.value = '';
    throw new NotAllowed();
  }
  if (!answer.ok) {
    const body = await answer.json().catch(() => null);
    throw new Error(body?.error?.message ?? `The server answered ${answer.status}.`);
  }
  return answer;
}

const below = (id, file = '') => `v1/recordings/${encodeURIComponent(id)}${file && `/${file}`}`;

/** The newest recordings, after `marker` if there is one. */
export async function list(marker = null) {
  return (await ask(`v1/recordings?limit=100${marker ? `&marker=${encodeURIComponent(marker)}` : ''}`)).json();
}

export async function show(id) {
  return (await (await ask(below(id))).json()).recording;
}

export async function remove(id) {
  await ask(below(id), 'DELETE');
}

/** A file of it, whole. `progress` gets the share that has come, 0 to 1. */
export async function file(id, name, progress = () => {}) {
  const answer = await ask(below(id, name));
  const total = Number(answer.headers.get('Content-Length'));
  const reader = answer.body.getReader();
  const pieces = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    length += value.length;
    progress(total ? length / total : 0);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
