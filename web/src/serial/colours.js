// The terminal's colours, light and dark. Bold text uses the bright eight, so on white they are the darker ones.

const DARK = {
  background: '#0d1117', foreground: '#e6edf3', cursor: '#58a6ff', cursorAccent: '#0d1117', selectionBackground: '#264f78',
  black: '#21262d', red: '#ff7b72', green: '#3fb950', yellow: '#d29922',
  blue: '#58a6ff', magenta: '#bc8cff', cyan: '#39c5cf', white: '#b1bac4',
  brightBlack: '#8b949e', brightRed: '#ffa198', brightGreen: '#56d364', brightYellow: '#e3b341',
  brightBlue: '#79c0ff', brightMagenta: '#d2a8ff', brightCyan: '#56d4dd', brightWhite: '#ffffff',
};

const LIGHT = {
  background: '#ffffff', foreground: '#1f2328', cursor: '#0969da', cursorAccent: '#ffffff', selectionBackground: '#b6d7ff',
  black: '#24292f', red: '#cf222e', green: '#116329', yellow: '#7d4e00',
  blue: '#0969da', magenta: '#8250df', cyan: '#1b7c83', white: '#6e7781',
  brightBlack: '#57606a', brightRed: '#a40e26', brightGreen: '#1a7f37', brightYellow: '#633c01',
  brightBlue: '#0550ae', brightMagenta: '#6639ba', brightCyan: '#15616d', brightWhite: '#57606a',
};

const FOUND_DARK = {
  matchBackground: '#5a4a12', matchOverviewRuler: '#d29922', activeMatchBackground: '#9e6a03', activeMatchColorOverviewRuler: '#ffb84d',
};

const FOUND_LIGHT = {
  matchBackground: '#fff1b8', matchOverviewRuler: '#bf8700', activeMatchBackground: '#ffd33d', activeMatchColorOverviewRuler: '#9a6700',
};

export function terminalColours(dark) {
  return dark ? DARK : LIGHT;
}

/** Colours of search matches. */
export function foundColours(dark) {
  return dark ? FOUND_DARK : FOUND_LIGHT;
}
