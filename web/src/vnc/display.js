// How the screen is shown: size, quality, colours. The URL's wishes win over what was chosen before.

import { checkbox, field, select, slider } from '../common/dom.js';
import { preferences } from '../common/store.js';
import { t } from '../common/strings.js';
import { themeField } from '../common/theme-field.js';

const SCALINGS = ['scale', 'off', 'remote'];

/** @param {import('./screen.js').Screen} screen @param {import('../common/parameters.js').Parameters} parameters */
export function display(screen, parameters) {
  const last = preferences.get('scaling', 'scale');
  const remembered = SCALINGS.includes(last) ? last : 'scale';
  screen.set({
    scaling: parameters.choice('resize', SCALINGS) ?? remembered,
    quality: parameters.integer('quality', 0, 9) ?? 6,
    compression: parameters.integer('compression', 0, 9) ?? 2,
    dot: parameters.flag('show_dot', false),
  });
  const pan = checkbox(t('display.pan'), false, (on) => screen.set({ pan: on }));
  pan.row.hidden = true;
  screen.addEventListener('clipping', ({ detail }) => {
    pan.row.hidden = !detail;
  });
  const scaling = select(
    SCALINGS.map((value) => [value, t(`display.${value}`)]),
    screen.settings.scaling,
    (value) => {
      preferences.set('scaling', value);
      screen.set({ scaling: value });
      explain();
    },
  );
  const size = field(t('display.scaling'), scaling, t('display.remote.hint'));
  const explain = () => {
    size.querySelector('.hint').hidden = scaling.value !== 'remote';
  };
  explain();
  return [
    size,
    pan.row,
    slider(t('display.quality'), { min: 0, max: 9, value: screen.settings.quality, change: (v) => screen.set({ quality: v }) }),
    slider(t('display.compression'), {
      min: 0, max: 9, value: screen.settings.compression, change: (v) => screen.set({ compression: v }),
    }),
    checkbox(t('display.dot'), screen.settings.dot, (on) => screen.set({ dot: on })).row,
    themeField(),
  ];
}
