// The admin API, with the operator's token.

/** Where the token is kept: this tab, and no longer than it is open. */
const KEY = 'consolegate.admin';

/** Longer than the server takes to list 8,000 sessions on a busy machine. */
const PATIENCE_MS = 20_000;

/** The token was refused. */
export class Refused extends Error {}

/** There was no answer. */
export class Unreached extends Error {}

export class Api {
  constructor() {
    this.token = stored();
  }

  get signedIn() {
    return this.token !== null;
  }

  /** Tries the token, and keeps it if it is right. */
  async signIn(token) {
    const before = this.token;
    this.token = token;
    try {
      await this.get('/v1/targets?limit=1');
      attempt(() => sessionStorage.setItem(KEY, token));
    } catch (error) {
      this.token = before;
      throw error;
    }
  }

  signOut() {
    this.token = null;
    attempt(() => sessionStorage.removeItem(KEY));
  }

  async get(path) {
    const response = await this.#call('GET', path);
    if (!response.ok) throw await failure(response);
    return response.json();
  }

  /** @returns {Promise<boolean>} false if there is no such thing any more */
  async remove(path) {
    const response = await this.#call('DELETE', path);
    if (response.status === 404) return false;
    if (!response.ok) throw await failure(response);
    return true;
  }

  async post(path) {
    const response = await this.#call('POST', path);
    if (!response.ok) throw await failure(response);
  }

  /** All targets, page by page; those that the process cannot use have the reason for their name. */
  async targets() {
    const all = [];
    let marker = null;
    do {
      const query = marker === null ? '' : `&marker=${encodeURIComponent(marker)}`;
      const page = await this.get(`/v1/targets?limit=1000${query}`);
      all.push(...page.targets);
      // Every page names them all.
      const unusable = marker === null ? (page.unusable?.targets ?? []) : [];
      all.push(...unusable.map(({ id, reason }) => ({ target: { id, name: reason, state: 'unusable' }, source: 'shared' })));
      marker = page.next;
    } while (marker);
    return all;
  }

  /** @returns {Promise<boolean>} whether the process takes no new consoles */
  async draining() {
    const response = await this.#call('GET', '/health/ready');
    return response.status === 503;
  }

  async #call(method, path) {
    let response;
    try {
      response = await fetch(path, {
        method,
        headers: { Authorization: `Bearer ${this.token}` },
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
    } catch {
      throw new Unreached();
    }
    if (response.status === 401) throw new Refused();
    return response;
  }
}

async function failure(response) {
  const body = await response.json().catch(() => null);
  return new Error(body?.error?.message ?? `HTTP ${response.status}`);
}

function stored() {
  return attempt(() => sessionStorage.getItem(KEY));
}

/** Storage may be refused; the token then lives as long as the page. */
function attempt(action) {
  try {
    return action() ?? null;
  } catch {
    return null;
  }
}
