// What views are written with: components as functions, markup as tagged templates.
// Texts become text nodes, so no name or message can become markup.
import { h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";
import { useEffect, useLayoutEffect, useState } from "./vendor/hooks.js";

export { render };
export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, useId }
  from "./vendor/hooks.js";

export const html = htm.bind(h);

/** Draw the component anew whenever the observable changes. */
export function useWatch(observable) {
  const [, set] = useState(0);
  useLayoutEffect(() => {
    set(observable.version); // it may have changed since it was drawn
    return observable.watch(() => set(observable.version));
  }, [observable]);
  return observable;
}

/** The time, as milliseconds, drawn anew every so often while the component is there. */
export function useNow(interval = 1000) {
  const [now, set] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), interval);
    return () => clearInterval(timer);
  }, [interval]);
  return now;
}
