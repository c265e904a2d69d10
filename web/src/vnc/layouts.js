// Keyboard layouts: which key, with which modifiers, makes a character on the machine's own keyboard.
//
// A machine behind QEMU hears key positions, not characters: what a position means is decided by the layout set
// inside the machine. So text is typed for that layout: '@' is Shift+2 on a US keyboard, AltGr+Q on a German one.
// Written after xkeyboard-config. Rows from the top; a blank is a key that is not used; a combining mark is a
// dead key, which waits for a letter (or a space, for the mark alone).

const CODES = [
  ['Backquote', 'Digit1', 'Digit2', 'Digit3', 'Digit4', 'Digit5', 'Digit6', 'Digit7', 'Digit8', 'Digit9', 'Digit0', 'Minus', 'Equal'],
  ['KeyQ', 'KeyW', 'KeyE', 'KeyR', 'KeyT', 'KeyY', 'KeyU', 'KeyI', 'KeyO', 'KeyP', 'BracketLeft', 'BracketRight'],
  ['KeyA', 'KeyS', 'KeyD', 'KeyF', 'KeyG', 'KeyH', 'KeyJ', 'KeyK', 'KeyL', 'Semicolon', 'Quote', 'Backslash'],
  ['IntlBackslash', 'KeyZ', 'KeyX', 'KeyC', 'KeyV', 'KeyB', 'KeyN', 'KeyM', 'Comma', 'Period', 'Slash'],
];

const NONE = ['             ', '            ', '            ', '           '];

/** For each layout: its name, and its rows plain, with Shift, and with AltGr. */
const LAYOUTS = {
  us: {
    name: 'English (US)',
    plain: ['`1234567890-=', 'qwertyuiop[]', "asdfghjkl;'\\", ' zxcvbnm,./'],
    shift: ['~!@#$%^&*()_+', 'QWERTYUIOP{}', 'ASDFGHJKL:"|', ' ZXCVBNM<>?'],
    altgr: NONE,
  },
  gb: {
    name: 'English (UK)',
    plain: ['`1234567890-=', 'qwertyuiop[]', "asdfghjkl;'#", '\\zxcvbnm,./'],
    shift: ['\u00ac!"\u00a3$%^&*()_+', 'QWERTYUIOP{}', 'ASDFGHJKL:@~', '|ZXCVBNM<>?'],
    altgr: ['    \u20ac        ', ...NONE.slice(1)],
  },
  de: {
    name: 'Deutsch',
    plain: ['\u03021234567890ß\u0301', 'qwertzuiopü+', 'asdfghjklöä#', '<yxcvbnm,.-'],
    shift: ['°!"§$%&/()=?\u0300', 'QWERTZUIOPÜ*', "ASDFGHJKLÖÄ'", '>YXCVBNM;:_'],
    altgr: ['       {[]}\\ ', '@ \u20ac        ~', NONE[2], '|          '],
  },
  ch: {
    name: 'Deutsch (Schweiz)',
    plain: ["§1234567890'\u0302", 'qwertzuiopü\u0308', 'asdfghjklöä$', '<yxcvbnm,.-'],
    shift: ['°+"*ç%&/()=?\u0300', 'QWERTZUIOPè!', 'ASDFGHJKLéà£', '>YXCVBNM;:_'],
    altgr: [' |@#        \u0303', '  \u20ac       []', '         \u0301{}', '\\          '],
  },
  fr: {
    name: 'Français',
    plain: ['²&é"\'(-è_çà)=', 'azertyuiop\u0302$', 'qsdfghjklmù*', '<wxcvbn,;:!'],
    shift: [' 1234567890°+', 'AZERTYUIOP\u0308£', 'QSDFGHJKLM%µ', '>WXCVBN?./§'],
    altgr: ['  ~#{[|`\\^@]}', '  \u20ac         ', NONE[2], NONE[3]],
  },
  es: {
    name: 'Español',
    plain: ["º1234567890'¡", 'qwertyuiop\u0300+', 'asdfghjklñ\u0301ç', '<zxcvbnm,.-'],
    shift: ['ª!"·$%&/()=?¿', 'QWERTYUIOP\u0302*', 'ASDFGHJKLÑ\u0308Ç', '>ZXCVBNM;:_'],
    altgr: ['\\|@#~        ', '  \u20ac       []', '          {}', NONE[3]],
  },
  it: {
    name: 'Italiano',
    plain: ["\\1234567890'ì", 'qwertyuiopè+', 'asdfghjklòàù', '<zxcvbnm,.-'],
    shift: ['|!"£$%&/()=?^', 'QWERTYUIOPé*', 'ASDFGHJKLç°§', '>ZXCVBNM;:_'],
    altgr: ['       {  }`~', '  \u20ac       []', '         @# ', NONE[3]],
  },
  pt: {
    name: 'Português',
    plain: ["\\1234567890'«", 'qwertyuiop+\u0301', 'asdfghjklçº\u0303', '<zxcvbnm,.-'],
    shift: ['|!"#$%&/()=?»', 'QWERTYUIOP*\u0300', 'ASDFGHJKLÇª\u0302', '>ZXCVBNM;:_'],
    altgr: ['  @    {[]}  ', '  \u20ac       \u0308 ', NONE[2], NONE[3]],
  },
  se: {
    name: 'Svenska',
    plain: ['§1234567890+\u0301', 'qwertyuiopå\u0308', "asdfghjklöä'", '<zxcvbnm,.-'],
    shift: ['½!"#¤%&/()=?\u0300', 'QWERTYUIOPÅ\u0302', 'ASDFGHJKLÖÄ*', '>ZXCVBNM;:_'],
    altgr: ['  @ $  {[]}\\ ', '  \u20ac        \u0303', NONE[2], '|          '],
  },
  dk: {
    name: 'Dansk',
    plain: ['½1234567890+\u0301', 'qwertyuiopå\u0308', "asdfghjklæø'", '<zxcvbnm,.-'],
    shift: ['§!"#¤%&/()=?\u0300', 'QWERTYUIOPÅ\u0302', 'ASDFGHJKLÆØ*', '>ZXCVBNM;:_'],
    altgr: ['  @ $  {[]} |', '  \u20ac        \u0303', NONE[2], '\\          '],
  },
  no: {
    name: 'Norsk',
    plain: ['|1234567890+\\', 'qwertyuiopå\u0308', "asdfghjkløæ'", '<zxcvbnm,.-'],
    shift: ['§!"#¤%&/()=?\u0300', 'QWERTYUIOPÅ\u0302', 'ASDFGHJKLØÆ*', '>ZXCVBNM;:_'],
    altgr: ['  @ $  {[]} \u0301', '  \u20ac        \u0303', NONE[2], NONE[3]],
  },
};

/** A mark by itself, and the dead key that makes it together with a space. */
const MARKS = { '^': '\u0302', '´': '\u0301', '`': '\u0300', '~': '\u0303', '¨': '\u0308' };

/** Characters that are keys of their own on every layout. */
const COMMON = { '\n': ['Enter', '\n'], '\t': ['Tab', '\t'], ' ': ['Space', ' '] };

/** @typedef {{code: string|null, character: string, shift: boolean, altgr: boolean}} Stroke one key press */

/** @returns {[string, string][]} id and name of each layout */
export function layoutNames() {
  return Object.entries(LAYOUTS).map(([id, { name }]) => [id, name]);
}

/** @returns {string} the layout that fits the browser's language best */
export function likelyLayout(languages) {
  for (const tag of languages.map((language) => language.toLowerCase())) {
    if (tag === 'en-gb') return 'gb';
    if (tag.endsWith('-ch')) return 'ch';
    const layout = { en: 'us', sv: 'se', da: 'dk', nb: 'no', nn: 'no' }[tag.split('-')[0]] ?? tag.split('-')[0];
    if (Object.hasOwn(LAYOUTS, layout)) return layout;
  }
  return 'us';
}

/**
 * The key presses that type `text`.
 * @param {string|null} layout null: by character alone, for servers that have a keyboard map of their own
 * @returns {{strokes: Stroke[], missing: string[]}} `missing`: characters the layout does not have
 */
export function strokesFor(text, layout) {
  const keys = layout === null ? null : keyMap(layout);
  const strokes = [];
  const missing = new Set();
  for (const character of text.replace(/\r\n?/g, '\n').normalize('NFC')) {
    const found = keys === null ? byCharacter(character) : byKey(character, keys);
    if (found) strokes.push(...found);
    else missing.add(character);
  }
  return { strokes, missing: [...missing] };
}

function byCharacter(character) {
  const stroke = common(character) ?? { code: null, character, shift: false, altgr: false };
  return /\p{Cc}/u.test(character) && !(character in COMMON) ? null : [stroke];
}

function byKey(character, keys) {
  const key = common(character) ?? keys.get(character);
  if (key) return [key];
  const mark = keys.get(MARKS[character]);
  if (mark) return [mark, common(' ')];
  // A letter with an accent: the dead key, then the letter.
  const [letter, accent, ...rest] = character.normalize('NFD');
  const dead = keys.get(accent);
  return dead && keys.has(letter) && rest.length === 0 ? [dead, keys.get(letter)] : null;
}

function common(character) {
  const key = COMMON[character];
  return key && { code: key[0], character: key[1], shift: false, altgr: false };
}

/** The simplest way to each character: plain before Shift before AltGr. */
function keyMap(layout) {
  const keys = new Map();
  for (const level of ['plain', 'shift', 'altgr']) {
    LAYOUTS[layout][level].forEach((row, r) => {
      [...row].forEach((character, n) => {
        if (character === ' ' || keys.has(character)) return;
        keys.set(character, { code: CODES[r][n], character, shift: level === 'shift', altgr: level === 'altgr' });
      });
    });
  }
  return keys;
}

/** For the test: every row has as many keys as the keyboard. */
export function layoutFaults() {
  const faults = [];
  for (const [id, layout] of Object.entries(LAYOUTS)) {
    for (const level of ['plain', 'shift', 'altgr']) {
      layout[level].forEach((row, r) => {
        if ([...row].length !== CODES[r].length) faults.push(`${id} ${level} row ${r}: ${[...row].length}`);
      });
    }
  }
  return faults;
}
