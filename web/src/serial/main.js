// The serial page: puts the parts together.

import '@xterm/xterm/css/xterm.css';
import '../style/serial.css';

import { about } from '../common/about.js';
import { Bar } from '../common/bar.js';
import { beep } from '../common/beep.js';
import { clean } from '../common/clean.js';
import { Company } from '../common/company.js';
import { button, checkbox, download, field, fileName, h, select, slider } from '../common/dom.js';
import { fullscreenButton } from '../common/fullscreen.js';
import { Notice } from '../common/notice.js';
import { Panel } from '../common/panel.js';
import { Parameters } from '../common/parameters.js';
import { Session } from '../common/session.js';
import { preferences } from '../common/store.js';
import { setLanguage, t } from '../common/strings.js';
import { themeField } from '../common/theme-field.js';
import { wayOut } from '../common/wayout.js';
import { SendText, copySelection } from './copy.js';
import { Find } from './find.js';
import { keysMenu } from './keys.js';
import { Line } from './line.js';
import { Log } from './log.js';
import { Pen } from './pen.js';
import { Terminal } from './terminal.js';

const parameters = new Parameters(location.href);
document.documentElement.lang = setLanguage(parameters.text('lang'));

const title = clean(parameters.text('title'), 120);
const bar = new Bar(title || t('page.serial'));
const notice = new Notice('strip');
const company = new Company(bar);
const line = new Line();
const terminal = new Terminal(line);
const back = () => terminal.focus();
const panel = new Panel(back);
const find = new Find(terminal);
const pen = new Pen(company, back);
const log = new Log();
const keys = keysMenu(terminal, company);
const sendText = new SendText(terminal, line);

let bell = parameters.flag('bell', false);

const session = new Session({
  bar,
  notice,
  parameters,
  serial: true,
  // A page that has shown some of the line's history goes on behind it.
  query: () => line.place,
  attach: (link) => {
    company.attach(link);
    line.attach(link);
    link.addEventListener('open', () => {
      session.connected();
      terminal.focus();
    });
  },
  ended: () => keys.hide(),
});

function setFont(points) {
  terminal.fontSize = points;
  font.querySelector('input').value = terminal.fontSize;
  font.querySelector('output').textContent = terminal.fontSize;
}

const font = slider(t('display.font'), { min: 8, max: 32, value: terminal.fontSize, change: setFont });

function displaySection() {
  const sizes = [['fit', t('display.size.fit')], ['fixed', t('display.size.fixed')]];
  return [
    font,
    field(t('display.size'), select(sizes, terminal.size, (value) => terminal.setSize(value))),
    themeField(),
    checkbox(t('display.reader'), preferences.get('screenReader', false), (on) => {
      terminal.screenReader = on;
    }).row,
  ];
}

function sessionSection() {
  return [
    checkbox(t('session.bell'), bell, (on) => {
      bell = on;
    }).row,
    h('div', { class: 'actions' }, button({ icon: 'download', label: t('session.log'), title: t('session.log.title'), run: saveLog })),
    h('div', { class: 'actions' }, button({ label: t('session.disconnect'), class: 'danger', run: () => session.disconnect() })),
  ];
}

function saveText() {
  const text = new Blob([terminal.transcript()], { type: 'text/plain;charset=utf-8' });
  download(text, fileName(title || 'serial-console', 'txt'));
  back();
}

/** Ctrl+C and Ctrl+F belong to the machine; with Shift they are the page's, as in other terminals. */
function shortcut(event) {
  if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey || event.altKey) return true;
  const action = { KeyC: () => copySelection(terminal), KeyF: () => find.open() }[event.code];
  if (!action) return true;
  event.preventDefault();
  action();
  return false;
}

function saveLog() {
  download(log.blob, fileName(title || 'serial-console', 'log'));
  back();
}

/** A window that is dragged larger changes its size with every pixel. */
const RESIZED_MS = 150;
let resized = 0;

function tellSize() {
  clearTimeout(resized);
  if (!company.state.resize) return;
  resized = setTimeout(() => company.say({ type: 'resize', columns: terminal.xterm.cols, rows: terminal.xterm.rows }), RESIZED_MS);
}

line.mayType = () => company.mayType;
line.addEventListener('refused', () => pen.refuse());
line.addEventListener('data', ({ detail }) => {
  if (typeof detail !== 'string') log.add(detail);
});
company.addEventListener('place', ({ detail }) => {
  line.goOn(detail);
});
company.addEventListener('gap', ({ detail: bytes }) => {
  line.skip(bytes);
  terminal.note(t('company.gap', { bytes }));
});
company.addEventListener('change', tellSize);
terminal.xterm.onResize(tellSize);
terminal.xterm.attachCustomKeyEventHandler(shortcut);
terminal.xterm.onBell(() => {
  if (bell) beep();
});

bar.add(
  keys.element,
  button({ icon: 'search', label: t('bar.find'), quiet: true, run: () => find.toggle() }),
  button({ icon: 'copy', label: t('bar.copy'), title: t('bar.copy.title'), quiet: true, run: () => copySelection(terminal) }),
  button({ icon: 'paste', label: t('bar.paste'), title: t('bar.paste.title'), class: 'input', quiet: true, run: () => sendText.paste(() => panel.open('paste')) }),
  button({ icon: 'smaller', label: t('bar.smaller'), class: 'icon-only', run: () => setFont(terminal.fontSize - 1) }),
  button({ icon: 'larger', label: t('bar.larger'), class: 'icon-only', run: () => setFont(terminal.fontSize + 1) }),
  button({ icon: 'download', label: t('bar.download'), title: t('bar.download.title'), quiet: true, run: saveText }),
  fullscreenButton(back),
  panel.button,
);
panel.add('display', t('panel.display'), displaySection(), { open: true });
panel.add('paste', t('panel.paste'), sendText.content);
panel.add('session', t('panel.session'), sessionSection());
panel.add('about', t('panel.about'), about('serial'));

const below = h('div', { class: 'below' }, find.element, terminal.element);
const stage = h('main', { class: 'stage' }, notice.element, pen.element, below);
document.body.append(bar.element, h('div', { class: 'room' }, stage, panel.element));
bar.rename(title || t('page.serial'));
terminal.open();
wayOut(() => bar.focus());
session.start();
