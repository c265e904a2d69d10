// What a session moves a second: as its proxy says, else from two looks at its counters.

/** How much of the last reading a new one replaces: two looks smooth a burst, three forget it. */
const WEIGHT = 0.6;

export class Rates {
  constructor() {
    this.known = new Map();
  }

  /**
   * Adds `down`, `up` (bytes a second) and `total` (bytes) to each session; forgets those that are gone.
   * @param {Object[]} sessions as the API lists them
   * @param {number} now milliseconds, of a clock that does not jump
   */
  take(sessions, now) {
    const next = new Map();
    for (const session of sessions) {
      const [toViewer, toTarget] = [session.bytes_to_viewer ?? 0, session.bytes_to_target ?? 0];
      const before = this.known.get(session.id);
      const seconds = before ? (now - before.at) / 1000 : 0;
      const reading = (count, last, rate) => {
        if (seconds <= 0) return rate;
        // A counter that went back is another proxy's, or a new one: nothing is known of its rate yet.
        const fresh = Math.max(0, count - last) / seconds;
        return rate === null ? fresh : rate * (1 - WEIGHT) + fresh * WEIGHT;
      };
      const down = before ? reading(toViewer, before.toViewer, before.down) : null;
      const up = before ? reading(toTarget, before.toTarget, before.up) : null;
      next.set(session.id, { at: seconds > 0 || !before ? now : before.at, toViewer, toTarget, down, up });
      // Another proxy's counters come in steps; what it says of their rate does not.
      session.down = session.rate_to_viewer ?? down ?? 0;
      session.up = session.rate_to_target ?? up ?? 0;
      session.total = toViewer + toTarget;
    }
    this.known = next;
    return sessions;
  }
}
