// The choice of colours in the panel.

import { field, select } from './dom.js';
import { t } from './strings.js';
import { theme } from './theme.js';

export function themeField() {
  const options = ['auto', 'light', 'dark'].map((value) => [value, t(`display.theme.${value}`)]);
  return field(t('display.theme'), select(options, theme.choice, (value) => theme.choose(value)));
}
