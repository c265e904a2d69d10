// When to connect again after a drop: `reconnect` and `reconnect_delay` of the page's URL.

/** Attempts in a row without a connection before it gives up. */
const MOST = 20;

/** The longest wait; each failure in a row doubles it up to here. */
const LONGEST_MS = 60_000;

export class Retry {
  /** @param {{enabled: boolean, delay: number}} options milliseconds */
  constructor({ enabled, delay }) {
    this.enabled = enabled;
    this.delay = delay;
    this.everConnected = false;
    this.failures = 0;
  }

  connected() {
    this.everConnected = true;
    this.failures = 0;
  }

  /**
   * A link that never worked is not tried again: it may be spent, and each try would say so anew.
   * @param {boolean} worthwhile whether this kind of end can be mended by connecting again
   * @returns {number|null} milliseconds to wait, or null: stay ended
   */
  next(worthwhile) {
    if (!this.enabled || !worthwhile || !this.everConnected || this.failures >= MOST) return null;
    const wait = Math.min(LONGEST_MS, this.delay * 2 ** this.failures);
    this.failures += 1;
    return wait;
  }
}
