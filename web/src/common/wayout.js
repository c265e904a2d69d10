// Ctrl+Alt+Shift: the way out of a console that takes every key, for people who do not use a mouse.

/** @param {() => void} leave puts the focus on the page's controls */
export function wayOut(leave) {
  window.addEventListener(
    'keydown',
    (event) => {
      const modifier = ['Control', 'Alt', 'Shift'].includes(event.key);
      if (!modifier || !event.ctrlKey || !event.altKey || !event.shiftKey || event.repeat) return;
      // The console must not see the last key: its release would go to the page's control.
      event.stopImmediatePropagation();
      leave();
    },
    true,
  );
}
