// Which view is shown: the fragment of the address, `#/jobs/cluster/42?tab=output`.
import { Observable } from "./observable.js";

export class Router extends Observable {
  constructor() {
    super();
    addEventListener("hashchange", () => this.changed());
  }

  /** `{view, parts, query}`, all decoded; `view` is empty where the address names none. */
  get route() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
    const [view = "", ...parts] = path.split("/").filter(Boolean).map(decoded);
    return { view, parts, query: Object.fromEntries(new URLSearchParams(query ?? "")) };
  }

  /** Show another view; `replace` leaves no entry in the history. */
  go(view, parts = [], query = {}, replace = false) {
    const address = href(view, parts, query);
    if (address === location.hash) return;
    if (replace) {
      history.replaceState(null, "", address);
      this.changed();
    } else {
      location.hash = address;
    }
  }
}

/** The address of a view, for links. */
export function href(view, parts = [], query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const path = [view, ...parts].map(encodeURIComponent).join("/");
  return `#/${path}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody typed it
  }
}
