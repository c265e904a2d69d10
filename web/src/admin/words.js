// Every text of the operator's page. Another language is another table here.

const en = {
  'title': 'consolegate',
  'tab.sessions': 'Sessions',
  'tab.targets': 'Targets',
  'search': 'Search',
  'search.sessions': 'Server, user, project, address, id',
  'search.targets': 'Server, project, zone, kind, state, id',
  'clear': 'Clear the search',
  'reload': 'Look again now',
  'pause': 'Pause',
  'resume': 'Go on',
  'theme': 'Light or dark',
  'leave': 'Sign out',

  'state.live': 'Live',
  'state.paused': 'Paused',
  'state.draining': 'Draining: takes no new consoles',
  'state.partial': 'This process alone: the token store does not answer',
  'state.lost': 'Not reached since {time}',

  'sum.sessions': '{count} sessions',
  'sum.session': '1 session',
  'sum.shown': '{shown} of {count} shown',
  'sum.targets': '{count} targets',
  'sum.target': '1 target',
  'sum.down': 'to viewers',
  'sum.up': 'to consoles',

  'enter.title': 'Who is on which console',
  'enter.text': 'This page wants the token of the [admin] section. It stays in this tab until you sign out or close it.',
  'enter.token': 'Admin token',
  'enter.go': 'Sign in',
  'enter.wrong': 'This token was refused.',
  'enter.unreached': 'The server does not answer.',

  'column.target': 'Server',
  'column.protocol': 'Console',
  'column.user': 'User',
  'column.project': 'Project',
  'column.source': 'From',
  'column.proxy': 'Proxy',
  'column.since': 'For',
  'column.down': 'To viewer',
  'column.up': 'To console',
  'column.total': 'In all',
  'column.kind': 'Kind',
  'column.state': 'State',
  'column.consoles': 'Consoles',
  'column.place': 'Place',
  'column.origin': 'From',
  'column.sessions': 'Sessions',

  'watch': 'view only',
  'protocol.vnc': 'VNC',
  'protocol.serial': 'Serial',
  'protocol.spice': 'SPICE',
  'protocol.mks': 'MKS',
  'state.consoles': 'consoles',
  'state.none': 'no consoles',
  'origin.file': 'file',
  'origin.database': 'database',
  'origin.shared': 'shared',

  'empty.sessions': 'Nobody has a console open.',
  'empty.targets': 'There are no targets yet.',
  'empty.found': 'Nothing fits “{text}”.',

  'detail.session': 'Session',
  'detail.target': 'Target',
  'detail.close': 'Close',
  'detail.id': 'Session',
  'detail.grant': 'Grant',
  'detail.since': 'Since',
  'detail.mode': 'Mode',
  'detail.mode.full': 'keyboard and screen',
  'detail.down': 'To viewer',
  'detail.up': 'To console',
  'detail.gone': 'This session has ended.',
  'detail.sessions': 'Show its sessions',
  'detail.name': 'Name',

  'end': 'End',
  'end.title': 'End this session?',
  'end.text': '{user} is cut off from {target} at once, and reads that an operator ended the session. The link cannot be used again.',
  'end.yes': 'End the session',
  'end.no': 'Keep it',
  'end.done': 'Session ended.',
  'end.late': 'This session had ended already.',
  'end.failed': 'The session was not ended: {reason}',
  'break': 'Send a break',
  'break.done': 'Break sent.',
  'break.failed': 'No break was sent: {reason}',
};

/** @param {keyof typeof en} key */
export function w(key, values = {}) {
  const text = en[key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** A word of the API's own, in ours where we have one. */
export function named(prefix, value) {
  return en[`${prefix}.${value}`] ?? String(value ?? '');
}
