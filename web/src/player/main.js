// The recordings page, on the admin listener: what there is, and a player for both kinds.

import '@xterm/xterm/css/xterm.css';
import '../style/player.css';

import { Bar } from '../common/bar.js';
import { clean } from '../common/clean.js';
import { button, download, field, h } from '../common/dom.js';
import { setLanguage, t } from '../common/strings.js';
import { NotAllowed, file, list, remove, show, token } from './api.js';
import { parseCast } from './cast.js';
import { shown } from './clock.js';
import { parseFbs, suitsNovnc } from './fbs.js';
import { Player } from './player.js';
import { ScreenStage, TextStage } from './stages.js';

document.documentElement.lang = setLanguage(new URL(location.href).searchParams.get('lang'));

const bar = new Bar(t('page.recordings'));
const room = h('main', { class: 'recordings' });
const back = button({
  icon: 'back',
  label: t('recordings.all'),
  run: () => {
    location.hash = '';
  },
});
let player = null;

function put(...children) {
  player?.close();
  player = null;
  room.replaceChildren(...children);
}

function say(text) {
  put(h('p', { class: 'word', role: 'alert', text }));
}

/** Does `work`, and says what went wrong; without a token it asks for one. */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    if (error instanceof NotAllowed) askToken();
    else say(clean(error.message, 300));
  }
}

function askToken() {
  bar.show('idle', '');
  const input = h('input', { type: 'password', autocomplete: 'off', required: true });
  const form = h(
    'form',
    { class: 'gate' },
    field(t('recordings.token'), input, t('recordings.token.hint')),
    h('button', { class: 'button primary', text: t('recordings.open') }),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    token.value = input.value.trim();
    route();
  });
  put(form);
  input.focus();
}

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let n = 0;
  while (bytes >= 1024 && n < units.length - 1) [bytes, n] = [bytes / 1024, n + 1];
  return `${n ? bytes.toFixed(1) : bytes} ${units[n]}`;
}

function state(recording) {
  if (recording.live) return t('recordings.live');
  return recording.ended?.cause ?? t('recordings.unfinished');
}

/** A reloaded page plays what it played: the address has the recording's id, which opens nothing by itself. */
function row(recording) {
  const { id, started, target, user, protocol, ended, bytes } = recording;
  const words = [
    started ? new Date(started).toLocaleString() : id,
    target ?? '',
    user ?? '',
    protocol ?? '',
    ended ? shown(ended.millis) : '',
    size(bytes),
    state(recording),
  ];
  const play = h('a', { class: 'button', href: `#${id}`, text: t('player.play') });
  const save = button({
    icon: 'download',
    label: t('recordings.download'),
    class: 'icon-only',
    run: () => attempt(async () => {
      const name = recording.files.data ?? id;
      download(new Blob([await file(id, 'data')]), name);
    }),
  });
  const drop = button({
    label: t('recordings.remove'),
    class: 'danger',
    run: () => {
      if (confirm(t('recordings.sure', { target: target ?? id }))) attempt(() => remove(id).then(showList));
    },
  });
  drop.disabled = recording.live;
  return h(
    'tr',
    { 'data-id': id },
    ...words.map((text) => h('td', { text: clean(String(text), 200) })),
    h('td', { class: 'actions' }, recording.files.data ? play : null, save, drop),
  );
}

async function showList() {
  back.hidden = true;
  bar.rename(t('page.recordings'));
  const heads = ['started', 'target', 'user', 'protocol', 'length', 'size', 'state'];
  const body = h('tbody');
  const more = button({ label: t('recordings.more'), run: () => attempt(() => load(more.marker)) });
  async function load(marker) {
    const { recordings, next } = await list(marker);
    body.append(...recordings.map(row));
    more.marker = next;
    more.hidden = !next;
    bar.show('connected', t('recordings.count', { count: body.children.length }));
  }
  await load(null);
  const titles = [...heads.map((name) => h('th', { scope: 'col', text: t(`recordings.${name}`) })), h('th')];
  const table = h('table', {}, h('thead', {}, h('tr', {}, ...titles)), body);
  put(body.children.length ? table : h('p', { class: 'word', text: t('recordings.none') }), more);
}

async function play(id) {
  back.hidden = false;
  bar.show('connecting', t('recordings.loading', { share: 0 }));
  const recording = await show(id);
  const name = clean(recording.target ?? id, 120);
  bar.rename(name, recording.started ? new Date(recording.started).toLocaleString() : '');
  const progress = (share) => bar.show('connecting', t('recordings.loading', { share: Math.round(share * 100) }));
  const bytes = await file(id, 'data', progress);
  let next;
  if (recording.format === 'asciicast-v2') {
    next = new Player(new TextStage(), parseCast(bytes).events);
  } else {
    const events = parseFbs(bytes);
    const journal = new TextDecoder().decode(recording.files.journal ? await file(id, 'journal') : new Uint8Array());
    if (!events.length) throw new Error(t('recordings.empty'));
    if (!suitsNovnc(events, journal)) throw new Error(t('recordings.foreign', { name: recording.files.data }));
    const stage = new ScreenStage();
    stage.addEventListener('broken', () => say(t('notice.broken')));
    next = new Player(stage, events);
  }
  put(next.element);
  player = next;
  bar.show('connected', state(recording));
  next.open();
}

function route() {
  const id = location.hash.slice(1);
  attempt(() => (id ? play(id) : showList()));
}

bar.add(back);
document.body.append(bar.element, room);
addEventListener('hashchange', route);
route();
