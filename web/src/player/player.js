// A recording and its controls: play, stand still, speed, seek.

import { button, h, select } from '../common/dom.js';
import { t } from '../common/strings.js';
import { Clock, cutWaits, due, shown } from './clock.js';

const SPEEDS = [0.5, 1, 2, 4, 8, 16];

/** How far an arrow key leads, in milliseconds. */
const STEP = 10_000;

export class Player {
  #frame = 0;
  #played = 0;

  /**
   * @param {{element: HTMLElement, open(): void, restart(): void, write(bytes: Uint8Array): void, close(): void}} stage
   * @param {{at: number, bytes: Uint8Array}[]} events
   */
  constructor(stage, events) {
    this.stage = stage;
    this.whole = events;
    this.toggle = button({ icon: 'play', label: t('player.play'), class: 'icon-only', run: () => this.run(!this.clock.running) });
    this.slider = h('input', { type: 'range', class: 'seek', min: 0, step: 1, value: 0, 'aria-label': t('player.seek') });
    this.slider.addEventListener('input', () => this.seek(Number(this.slider.value)));
    this.time = h('output', { class: 'time' });
    const speeds = SPEEDS.map((speed) => [String(speed), `${speed}x`]);
    this.speed = select(speeds, '1', (value) => this.clock.setSpeed(Number(value), performance.now()));
    this.speed.setAttribute('aria-label', t('player.speed'));
    this.idle = h('input', { type: 'checkbox', on: { change: () => this.#arrange() } });
    this.element = h(
      'div',
      { class: 'player' },
      h('div', { class: 'stage' }, stage.element),
      h(
        'div',
        { class: 'controls' },
        this.toggle,
        this.slider,
        this.time,
        this.speed,
        h('label', { class: 'skip' }, this.idle, h('span', { text: t('player.skip') })),
      ),
    );
    this.element.addEventListener('keydown', (event) => this.#key(event));
    this.element.tabIndex = -1;
    this.#arrange();
  }

  /** Lays the events out in time anew. */
  #arrange() {
    const share = this.clock ? this.#played : 0;
    this.events = this.idle.checked ? cutWaits(this.whole) : this.whole;
    const end = this.events.at(-1)?.at ?? 0;
    const clock = new Clock(end);
    if (this.clock) {
      clock.speed = this.clock.speed;
      clock.jump(this.events[share - 1]?.at ?? 0, performance.now());
      clock.running = this.clock.running;
    }
    this.clock = clock;
    this.slider.max = String(Math.ceil(end));
    this.#tell();
  }

  /** Once the element is in the page. */
  open() {
    this.stage.open();
    this.run(true);
    this.element.focus({ preventScroll: true });
  }

  run(on) {
    const now = performance.now();
    // From the end, play means again.
    if (on && this.clock.at(now) >= this.clock.end && this.#played > 0) this.seek(0);
    this.clock.run(on, now);
    this.toggle.replaceWith((this.toggle = button({
      icon: on ? 'pause' : 'play',
      label: t(on ? 'player.pause' : 'player.play'),
      class: 'icon-only',
      run: () => this.run(!this.clock.running),
    })));
    document.documentElement.dataset.playing = String(on);
    if (on) this.#frame ||= requestAnimationFrame(() => this.#tick());
  }

  seek(place) {
    this.clock.jump(place, performance.now());
    this.#show();
  }

  #tick() {
    this.#frame = 0;
    this.#show();
    if (!this.clock.running) return;
    if (this.clock.at(performance.now()) >= this.clock.end) this.run(false);
    else this.#frame = requestAnimationFrame(() => this.#tick());
  }

  #show() {
    const upto = due(this.events, this.clock.at(performance.now()));
    if (upto < this.#played) {
      // What was compressed can be read in order only: from the beginning.
      this.stage.restart();
      this.#played = 0;
    }
    for (; this.#played < upto; this.#played += 1) this.stage.write(this.events[this.#played].bytes);
    this.#tell();
  }

  #tell() {
    const at = this.clock.at(performance.now());
    this.slider.value = String(Math.round(at));
    this.time.textContent = `${shown(at)} / ${shown(this.clock.end)}`;
  }

  #key(event) {
    if (event.target.matches('select') || event.ctrlKey || event.altKey || event.metaKey) return;
    const at = this.clock.at(performance.now());
    const action = {
      ' ': () => this.run(!this.clock.running),
      ArrowLeft: () => this.seek(at - STEP),
      ArrowRight: () => this.seek(at + STEP),
      Home: () => this.seek(0),
      End: () => this.seek(this.clock.end),
    }[event.key];
    if (!action || (event.key === ' ' && event.target.matches('button, input[type=checkbox]'))) return;
    event.preventDefault();
    action();
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.clock.run(false, performance.now());
    this.stage.close();
  }
}
