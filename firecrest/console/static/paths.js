// Paths of files; a path without a slash in front begins in the home directory, "" is it.

/** What the API takes in no path (rest-v1 §3.1). */
const REFUSED = /[<>|;"'&\\()`\u0000-\u001f\u007f\ufffd]/;
/** Those of them that can be seen. */
export const REFUSED_CHARACTERS = "< > | ; \" ' & \\ ( ) `";

export const acceptable = (name) => !REFUSED.test(name);

export function join(directory, name) {
  if (!directory) return name;
  return `${directory.replace(/\/+$/, "")}/${name}`;
}

/** The directory as the API is told it; with the slash a link is followed. */
export const directoryOf = (path) => (path ? `${path.replace(/\/+$/, "")}/` : "./");

/** `[[name, path]]` of the directories on the way, from the beginning. */
export function crumbs(path) {
  const names = path.split("/").filter(Boolean);
  const start = path.startsWith("/") ? [["/", "/"]] : [["Home", ""]];
  return names.reduce((way, name) => [...way, [name, join(way.at(-1)[1], name)]], start);
}
