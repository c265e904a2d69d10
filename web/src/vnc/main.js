// The VNC page: puts the parts together.

import '../style/vnc.css';

import { about } from '../common/about.js';
import { Bar } from '../common/bar.js';
import { beep } from '../common/beep.js';
import { clean } from '../common/clean.js';
import { Company } from '../common/company.js';
import { button, checkbox, download, fileName, h } from '../common/dom.js';
import { fullscreenButton } from '../common/fullscreen.js';
import { Notice } from '../common/notice.js';
import { Panel } from '../common/panel.js';
import { Parameters } from '../common/parameters.js';
import { Session } from '../common/session.js';
import { setLanguage, t } from '../common/strings.js';
import { wayOut } from '../common/wayout.js';
import { Clipboard } from './clipboard.js';
import { display } from './display.js';
import { Keys } from './keys.js';
import { loginForm } from './login.js';
import { Screen } from './screen.js';
import { TouchKeyboard } from './touch.js';
import { Typing } from './typing.js';

const parameters = new Parameters(location.href);
document.documentElement.lang = setLanguage(parameters.text('lang'));

const title = clean(parameters.text('title'), 120);
const bar = new Bar(title || t('page.vnc'));
const notice = new Notice('card');
const company = new Company(bar);
const screen = new Screen(parameters);
const back = () => screen.focus();
const panel = new Panel(back);
const keys = new Keys(screen);
const clipboard = new Clipboard(screen);
const typing = new Typing(screen, clipboard);
const touch = new TouchKeyboard(screen);

const session = new Session({
  bar,
  notice,
  parameters,
  serial: false,
  attach: (link) => {
    company.attach(link);
    screen.attach(link);
  },
  ended: () => {
    typing.stop();
    keys.release();
    keys.menu.hide();
  },
});

let name = title;
let bell = parameters.flag('bell', false);

function showConnected() {
  session.connected();
  if (screen.settings.viewOnly) bar.show('connected', t('status.viewing'));
}

async function screenshot() {
  const picture = await screen.picture();
  if (picture) download(picture, fileName(name || 'console', 'png'));
  back();
}

function sessionSection() {
  screen.set({ viewOnly: parameters.flag('view_only', false) });
  const viewOnly = checkbox(
    t('session.viewOnly'),
    screen.settings.viewOnly,
    (on) => {
      keys.release();
      screen.set({ viewOnly: on });
      document.documentElement.classList.toggle('view-only', on);
      if (screen.connected) showConnected();
    },
    t('session.viewOnly.hint'),
  );
  document.documentElement.classList.toggle('view-only', screen.settings.viewOnly);
  // The proxy drops what this viewer sends: the page need not send it.
  company.addEventListener('change', () => {
    const { viewOnly: forced } = company.state;
    const chosen = forced || viewOnly.input.checked;
    viewOnly.input.disabled = forced;
    if (chosen === screen.settings.viewOnly) return;
    screen.set({ viewOnly: chosen });
    document.documentElement.classList.toggle('view-only', chosen);
  });
  return [
    viewOnly.row,
    checkbox(t('session.bell'), bell, (on) => {
      bell = on;
    }).row,
    h('div', { class: 'actions' }, button({ label: t('session.disconnect'), class: 'danger', run: () => session.disconnect() })),
  ];
}

function logIn(kinds) {
  const body = loginForm(kinds, (credentials) => {
    notice.show({ title: t('notice.connecting'), busy: true });
    screen.logIn(credentials);
  });
  notice.show({ title: t('login.title'), body });
  body.querySelector('input')?.focus();
}

screen.addEventListener('connect', showConnected);
screen.addEventListener('name', ({ detail }) => {
  name = title || detail || t('page.vnc');
  bar.rename(name, title && detail !== title ? detail : '');
});
screen.addEventListener('explain', ({ detail }) => session.explain(detail || t('notice.security')));
screen.addEventListener('unverified', () => session.explain(t('notice.unverified')));
screen.addEventListener('broken', () => session.explain(t('notice.broken')));
screen.addEventListener('credentials', ({ detail }) => logIn(detail));
screen.addEventListener('bell', () => {
  if (bell) beep();
});

bar.add(
  button({
    label: t('bar.cad'), title: t('bar.cad.title'), class: 'input spare',
    run: () => {
      screen.ctrlAltDel();
      back();
    },
  }),
  keys.element,
  touch.button,
  button({ icon: 'type', label: t('bar.type'), title: t('bar.type.title'), class: 'input', quiet: true, run: () => panel.open('type') }),
  button({ icon: 'clipboard', label: t('bar.clipboard'), quiet: true, run: () => panel.open('clipboard') }),
  button({ icon: 'camera', label: t('bar.screenshot'), title: t('bar.screenshot.title'), quiet: true, run: screenshot }),
  fullscreenButton(back),
  panel.button,
);
panel.add('display', t('panel.display'), display(screen, parameters), { open: true });
panel.add('type', t('panel.type'), typing.content);
panel.add('clipboard', t('panel.clipboard'), clipboard.content);
panel.add('session', t('panel.session'), sessionSection());
panel.add('about', t('panel.about'), about('vnc'));

screen.element.append(notice.element);
document.body.append(bar.element, h('div', { class: 'room' }, screen.element, panel.element), touch.area);
if (title) bar.rename(title);
wayOut(() => bar.focus());
if (document.documentElement.dataset.chrome === 'full' && innerWidth >= 900) panel.open();
session.start();
