// The icons: strokes on a 24 by 24 grid, in the text's colour.

const PATHS = {
  back: 'M20 12H5M11 6l-6 6 6 6',
  bell: 'M6 16v-5a6 6 0 0 1 12 0v5l1.5 2h-15zM10 21h4',
  camera: 'M4 8h3l2-3h6l2 3h3v11H4zM12 16.500a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z',
  clipboard: 'M9 5H6v15h12V5h-3M9 3.500h6v3.500H9zM9 12h6M9 16h4',
  close: 'M6 6l12 12M18 6L6 18',
  command: 'M4 9.500h16v9H4zM7 6.500V5M12 6.500V5M17 6.500V5M8 14h8',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  down: 'M6 10l6 6 6-6',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  exit: 'M9 4v5H4M15 4v5h5M9 20v-5H4M15 20v-5h5',
  full: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
  keyboard: 'M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M17.5 10h.01M7 14h10',
  larger: 'M3 18l5-12 5 12M5 14h6M19 8v8M15 12h8',
  moon: 'M20 14.500A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.500z',
  move: 'M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3',
  paste: 'M9 5H6v15h5M15 5h3v4M9 3.500h6v3.500H9zM13 12h7v9h-7z',
  pause: 'M8 5v14M16 5v14',
  play: 'M7 5l12 7-12 7z',
  reconnect: 'M20 12a8 8 0 1 1-2.5-5.800M20 3v5h-5',
  search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.500L20 20',
  settings: 'M4 7h9M19 7h1M4 17h1M11 17h9M16 9.500a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM8 19.500a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z',
  smaller: 'M3 18l5-12 5 12M5 14h6M15 12h8',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2v2.500M12 19.500V22M2 12h2.500M19.5 12H22M5 5l1.7 1.700M17.300 17.300L19 19M19 5l-1.7 1.700M6.7 17.300L5 19',
  type: 'M5 7V5h14v2M12 5v14M9 19h6',
  up: 'M6 15l6-6 6 6',
  warning: 'M12 4l9 16H3zM12 10v4.500M12 17.500h.01',
};

const SVG = 'http://www.w3.org/2000/svg';

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

/** Puts another icon into a button. */
export function setIcon(button, name) {
  button.querySelector('.icon').replaceWith(icon(name));
}
