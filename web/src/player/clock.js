// Where in a recording we are: runs, stands still, goes faster, jumps. Time is an input, in milliseconds.

/** Waits longer than this are cut, if that is asked for. */
export const LONGEST_WAIT = 2000;

export class Clock {
  #at = 0;
  #since = 0;
  speed = 1;
  running = false;

  /** @param {number} end the recording's length */
  constructor(end) {
    this.end = end;
  }

  at(now) {
    return Math.min(this.end, this.running ? this.#at + (now - this.#since) * this.speed : this.#at);
  }

  jump(place, now) {
    this.#at = Math.max(0, Math.min(this.end, place));
    this.#since = now;
  }

  run(on, now) {
    this.jump(this.at(now), now);
    this.running = on;
  }

  setSpeed(speed, now) {
    this.jump(this.at(now), now);
    this.speed = speed;
  }
}

/** The events with long waits between them cut. */
export function cutWaits(events, limit = LONGEST_WAIT) {
  let removed = 0;
  let last = 0;
  return events.map((event) => {
    removed += Math.max(0, event.at - last - limit);
    last = Math.max(last, event.at);
    return { ...event, at: last - removed };
  });
}

/** How many events are due at `at`; they are in order. */
export function due(events, at) {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].at <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** `1:02:03`, `2:03`. */
export function shown(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const two = (n) => String(n).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
