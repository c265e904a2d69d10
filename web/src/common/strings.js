// Every text the pages show. Another language is another table here; `lang` in the page's URL picks it.

const en = {
  'page.vnc': 'Console',
  'page.serial': 'Serial console',

  'status.connecting': 'Connecting',
  'status.connected': 'Connected',
  'status.viewing': 'Connected, view only',
  'status.ended': 'Ended',
  'status.waiting': 'Reconnecting in {seconds} s',
  'status.idle': 'Not connected',

  'notice.connecting': 'Connecting to the console',
  'notice.idle': 'Ready to connect',
  'notice.idle.text': 'The link is used only when you connect.',
  'notice.nolink': 'This link has no console in it',
  'notice.nolink.text': 'The address lacks its token. Open the console again from your dashboard, or ask the API for a new URL.',
  'notice.foreign': 'This link was refused',
  'notice.foreign.text': 'Its path leads to another site. A console page connects only to the server it came from.',
  'notice.security': 'The server refused the log-in',
  'notice.unverified': 'The server asked for a kind of log-in this page does not offer.',
  'notice.broken': 'The machine sent data this page cannot read.',
  'notice.waiting': 'Connection lost',
  'action.connect': 'Connect',
  'action.reconnect': 'Reconnect',
  'action.reconnectNow': 'Reconnect now',
  'action.stop': 'Stop trying',
  'action.dismiss': 'Dismiss',
  'action.close': 'Close',

  'end.title.user': 'Disconnected',
  'end.title.closed': 'The console was closed',
  'end.title.ended': 'The console has ended',
  'end.title.failed': 'Could not connect',
  'end.user': 'You disconnected from the console.',
  'end.unreachable': 'The console server could not be reached, or it refused this link. A link works once and for a short time; ask for a new one if this goes on.',
  'end.lost': 'The connection to the console server was lost.',
  'end.1000': 'The server closed its console.',
  'end.1001': 'The console server is shutting down or restarting. Reconnect in a moment.',
  'end.1002': 'The connection broke the protocol and was ended.',
  'end.1003': 'The console server received data it does not take.',
  'end.1005': 'The connection was closed without a reason.',
  'end.1007': 'The console server received text that is not UTF-8.',
  'end.1008': 'The session may not go on: the link was used, has expired or was revoked, or the console was opened elsewhere.',
  'end.1009': 'A message was too large.',
  'end.1011': 'The connection between the console server and the machine failed.',
  'end.1012': 'The console server is restarting. Reconnect in a moment.',
  'end.1013': 'The console is busy or the server is full. Try again later.',
  'end.1015': 'The secure connection could not be made.',
  'end.other': 'The console server ended the connection.',
  'end.code': '(Code {code})',

  'bar.tools': 'Console controls',
  'bar.cad': 'Ctrl-Alt-Del',
  'bar.cad.title': 'Send Ctrl-Alt-Del',
  'bar.keys': 'Keys',
  'bar.keys.title': 'Keys the browser keeps for itself',
  'bar.touch': 'Keyboard',
  'bar.touch.title': 'Show the on-screen keyboard',
  'bar.type': 'Paste',
  'bar.type.title': 'Type text as key presses',
  'bar.clipboard': 'Clipboard',
  'bar.screenshot': 'Screenshot',
  'bar.screenshot.title': 'Save a picture of the screen',
  'bar.full': 'Full screen',
  'bar.unfull': 'Leave full screen',
  'bar.panel': 'Settings',
  'bar.find': 'Find',
  'bar.copy': 'Copy',
  'bar.copy.title': 'Copy the selected text (Ctrl+Shift+C)',
  'bar.paste': 'Paste',
  'bar.paste.title': 'Paste (Ctrl+Shift+V)',
  'bar.smaller': 'Smaller text',
  'bar.larger': 'Larger text',
  'bar.download': 'Download',
  'bar.download.title': 'Download the text, scrolled lines included',

  'keys.hold': 'Hold down',
  'keys.single': 'Single keys',
  'keys.combinations': 'Combinations',
  'keys.terminals': 'Text screens (Ctrl-Alt-F1 to F12)',
  'keys.sysrq': 'Linux SysRq (Alt-SysRq)',
  'keys.sysrq.send': 'Send',
  'keys.function': 'Function keys',
  'keys.control': 'Control keys',
  'keys.size': 'Send terminal size',
  'keys.size.hint': 'Types stty rows {rows} cols {cols} at the prompt: a serial line does not carry the size.',

  'panel.display': 'Display',
  'panel.clipboard': 'Clipboard',
  'panel.type': 'Type text',
  'panel.paste': 'Send text',
  'panel.session': 'Session',
  'panel.about': 'About',

  'display.scaling': 'Size',
  'display.scale': 'Fit to window',
  'display.off': 'Actual size',
  'display.remote': 'Resize the machine\u2019s screen',
  'display.remote.hint': 'Works where the machine\u2019s graphics driver can change its resolution.',
  'display.quality': 'Picture quality',
  'display.compression': 'Compression',
  'display.dot': 'Show a dot when there is no cursor',
  'display.pan': 'Move the picture by dragging',
  'display.theme': 'Colours',
  'display.theme.auto': 'As the system',
  'display.theme.light': 'Light',
  'display.theme.dark': 'Dark',
  'display.font': 'Text size',
  'display.size': 'Terminal size',
  'display.size.fit': 'Fit to window',
  'display.size.fixed': '80 \u00d7 24, as firmware expects',
  'display.reader': 'Screen reader support',

  'clipboard.received': 'Text of the machine\u2019s clipboard',
  'clipboard.hint': 'Shows what the machine copied. Change it and send it to the machine\u2019s clipboard. Machines without a clipboard agent ignore it; use Type text there.',
  'clipboard.send': 'Send to the machine',
  'clipboard.copy': 'Copy to this computer',
  'clipboard.sync': 'Keep both clipboards the same',
  'clipboard.sync.hint': 'The machine then sees what you copy elsewhere, and may replace it.',
  'clipboard.sent': 'Sent to the machine\u2019s clipboard',
  'clipboard.copied': 'Copied',
  'clipboard.denied': 'The browser does not allow access to the clipboard here.',
  'clipboard.nothing': 'Select some text first',

  'type.text': 'Text to type',
  'type.hint': 'Typed key by key, as if at the machine\u2019s own keyboard. Turn Caps Lock off there.',
  'type.layout': 'Keyboard layout of the machine',
  'type.layout.auto': 'By character, without key positions',
  'type.speed': 'Speed',
  'type.fast': 'Fast',
  'type.normal': 'Normal',
  'type.slow': 'Slow, for management controllers',
  'type.send': 'Type',
  'type.fromClipboard': 'Get from clipboard',
  'type.stop': 'Stop',
  'type.progress': '{done} of {total}',
  'type.missing': 'Not on this layout, left out: {characters}',
  'type.done': 'Typed {total} characters',

  'paste.text': 'Text to send',
  'paste.hint': 'Sent to the serial line as if typed.',
  'paste.speed': 'Speed',
  'paste.fast': 'Fast',
  'paste.slow': 'Slow, for real serial lines',
  'paste.send': 'Send',

  'session.viewOnly': 'View only',
  'session.viewOnly.hint': 'Nothing you type or click is sent.',
  'session.disconnect': 'Disconnect',
  'session.bell': 'Sound for the machine\u2019s bell',

  'login.title': 'Log in to the console',
  'login.username': 'User name',
  'login.password': 'Password',
  'login.target': 'Target',
  'login.send': 'Log in',

  'find.label': 'Find in the terminal',
  'find.next': 'Next',
  'find.previous': 'Previous',
  'find.count': '{index} of {count}',
  'find.none': 'No match',

  'link.hint': 'Ctrl+click to open {url}',

  'about.shortcut': 'Ctrl+Alt+Shift moves from the console to this page\u2019s controls.',
  'about.vnc': 'Screen: noVNC {novnc}, Mozilla Public License 2.0.',
  'about.serial': 'Terminal: xterm.js {xterm}, MIT licence.',
  'about.licences': 'Licences and sources',
};

const TABLES = { en };

let table = en;

/** Picks the language: `de`, `de-CH` and `DE` all mean `de`. @returns {string} the language in use */
export function setLanguage(wanted) {
  const language = (wanted ?? '').toLowerCase().split(/[-_]/)[0];
  const known = Object.hasOwn(TABLES, language) ? language : 'en';
  table = TABLES[known];
  return known;
}

/** @param {keyof typeof en} key */
export function t(key, values = {}) {
  const text = table[key] ?? en[key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
