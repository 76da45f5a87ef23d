/** Light, dark, or as the system has it: remembered in this browser. */

const NAME = "wa-theme";
export const THEMES = ["system", "light", "dark"];

/** The theme that was chosen. */
export function chosen() {
  const held = localStorage.getItem(NAME);
  return THEMES.includes(held) ? held : "system";
}

/** Choose a theme. */
export function choose(theme) {
  localStorage.setItem(NAME, theme);
  show(theme);
  dispatchEvent(new Event("theme"));
}

/** Show a theme. */
export function show(theme = chosen()) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
