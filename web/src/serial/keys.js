// The menu of keys that browsers and tablets lack, as the bytes a VT terminal sends for them.

import { button, h, select } from '../common/dom.js';
import { Menu, group } from '../common/menu.js';
import { t } from '../common/strings.js';

const control = (letter) => String.fromCharCode(letter.charCodeAt(0) & 0x1f);

const SINGLE = [
  ['Esc', '\x1b'],
  ['Tab', '\t'],
  ['Home', '\x1b[H'],
  ['End', '\x1b[F'],
  ['Page Up', '\x1b[5~'],
  ['Page Down', '\x1b[6~'],
  ['Insert', '\x1b[2~'],
  ['Delete', '\x1b[3~'],
  ['\u2190', '\x1b[D', 'Left'],
  ['\u2191', '\x1b[A', 'Up'],
  ['\u2193', '\x1b[B', 'Down'],
  ['\u2192', '\x1b[C', 'Right'],
];

const CONTROL = ['C', 'D', 'Z', 'L', 'R', 'A', 'E', 'U', 'W', 'X', 'S', 'Q', ']', '\\'].map((l) => [`Ctrl-${l}`, control(l)]);

/** xterm's codes for F1 to F12. */
const FUNCTION = [
  '\x1bOP', '\x1bOQ', '\x1bOR', '\x1bOS', '\x1b[15~', '\x1b[17~',
  '\x1b[18~', '\x1b[19~', '\x1b[20~', '\x1b[21~', '\x1b[23~', '\x1b[24~',
].map((code, n) => [`F${n + 1}`, code]);

/** Documentation/admin-guide/sysrq of the Linux kernel; on a serial line the key follows a break within 5 s. */
const SYSRQ = [
  ['h', 'Help'],
  ['b', 'Reboot at once'],
  ['c', 'Crash (for a dump)'],
  ['e', 'Terminate all processes'],
  ['f', 'Kill by memory shortage'],
  ['i', 'Kill all processes'],
  ['l', 'Backtrace of processors'],
  ['m', 'Memory information'],
  ['o', 'Power off'],
  ['s', 'Sync discs'],
  ['t', 'List tasks'],
  ['u', 'Remount discs read-only'],
  ['w', 'List blocked tasks'],
];

/** After the break has ended, which lasts some 0.3 s, and well within the kernel's 5 s. */
const AFTER_BREAK_MS = 1000;

/** @param {import('../common/company.js').Company} company @param {(code: string) => void} type */
function breakGroup(company, type) {
  const send = () => company.say({ type: 'break' });
  const choice = select(SYSRQ.map(([key, what]) => [key, `${key.toUpperCase()}: ${what}`]), 'h', () => {});
  choice.setAttribute('aria-label', t('keys.sysrq.serial'));
  const sysrq = () => {
    const key = choice.value;
    send();
    setTimeout(() => type(key), AFTER_BREAK_MS);
  };
  const pair = h('div', { class: 'pair' }, choice, button({ label: t('keys.sysrq.send'), run: sysrq }));
  const items = group(t('keys.sysrq.serial'), 'row', button({ label: t('keys.break'), title: t('keys.break.title'), run: send }), pair);
  const update = () => {
    items.hidden = !company.state.breaks;
    for (const control of items.querySelectorAll('button')) control.disabled = !company.mayType;
  };
  company.addEventListener('change', update);
  update();
  return items;
}

/** @param {import('./terminal.js').Terminal} terminal @param {import('../common/company.js').Company} company */
export function keysMenu(terminal, company) {
  const buttons = (keys) => keys.map(([label, code, title]) => button({ label, title: title ?? label, run: () => type(code) }));
  // In application mode, which full-screen programs switch on, the arrows have other codes.
  const type = (code) => {
    const application = terminal.xterm.modes.applicationCursorKeysMode;
    terminal.xterm.input(application ? code.replace(/^\x1b\[([A-DHF])$/, '\x1bO$1') : code);
  };
  const hint = h('p', { class: 'hint' });
  const size = button({
    label: t('keys.size'),
    run: () => {
      const { rows, cols } = terminal.xterm;
      terminal.xterm.input(`stty rows ${rows} cols ${cols}\r`);
      menu.close();
    },
  });
  const menu = new Menu(
    { icon: 'command', label: t('bar.keys'), title: t('bar.keys.title') },
    [
      group(t('keys.single'), 'grid four', ...buttons(SINGLE)),
      group(t('keys.control'), 'wide', ...buttons(CONTROL)),
      group(t('keys.function'), 'grid', ...buttons(FUNCTION)),
      breakGroup(company, type),
      group(t('display.size'), 'row', size, hint),
    ],
    () => terminal.focus(),
  );
  menu.button.addEventListener('click', () => {
    const { rows, cols } = terminal.xterm;
    hint.textContent = t('keys.size.hint', { rows, cols });
  });
  return menu;
}
