// Light or dark: as the system says, until somebody chooses.
const KEY = "firecrest-theme";
const ORDER = ["auto", "light", "dark"];

export function currentTheme() {
  return localStorage.getItem(KEY) ?? "auto";
}

export function applyTheme(theme = currentTheme()) {
  if (theme === "auto") {
    localStorage.removeItem(KEY);
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem(KEY, theme);
    document.documentElement.dataset.theme = theme;
  }
  return theme;
}

export function nextTheme(theme) {
  return ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
}
