// Components that views share.
import { html, useEffect, useId, useLayoutEffect, useRef, useState, useWatch } from "./ui.js";

/**
 * Rows of something.
 *
 * `columns`: `{key, title, cell(row), kind}`; `kind` is `wide` (hidden on a phone), `number`, or
 * both; `sort` is `ascending` or `descending` where rows are ordered by it. The first cell heads its row. `open(row)`: what a click on a row does; give the first
 * cell a link or a button that does the same, for keyboards. `id(row)`: what tells rows apart.
 * More than `most` rows are shown when asked for.
 */
export function Table({ caption, columns, rows, id, open, empty, selected, most = 200 }) {
  const [shown, show] = useState(most);
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  const click = (row) => (event) => {
    if (open && !event.target.closest("a, button, input, select") && !getSelection().toString()) open(row);
  };
  return html`<div class="table" role="region" aria-label=${caption} tabindex="0"><table>
    <caption class="unseen">${caption}</caption>
    <thead><tr>${columns.map(
      (column) => html`<th scope="col" key=${column.key} class=${column.kind} aria-sort=${column.sort}>${column.title}</th>`,
    )}</tr></thead>
    <tbody>${rows.slice(0, shown).map((row) => html`<tr key=${id(row)} class=${[open && "opens", id(row) === selected && "selected"].filter(Boolean).join(" ")} onClick=${click(row)}>
      ${columns.map((column, nth) => nth === 0
        ? html`<th scope="row" key=${column.key} class=${column.kind}>${column.cell(row)}</th>`
        : html`<td key=${column.key} class=${column.kind}>${column.cell(row)}</td>`)}
    </tr>`)}</tbody>
  </table>
    ${rows.length > shown && html`<button type="button" class="more" onClick=${() => show(shown + most)}>Show more of ${rows.length}</button>`}
  </div>`;
}

/** A modal dialog; Escape and a click beside it close it. */
export function Dialog({ title, close, children, wide }) {
  const dialog = useRef(null);
  useLayoutEffect(() => {
    const opened = dialog.current;
    opened.showModal();
    return () => opened.close(); // the focus goes back to where it came from
  }, []);
  return html`<dialog ref=${dialog} class=${wide ? "wide" : ""} aria-label=${title}
      onCancel=${(event) => { event.preventDefault(); close(); }}
      onClick=${(event) => event.target === dialog.current && close()}>
    <div class="dialog">
      <header><h2>${title}</h2><button type="button" class="plain" aria-label="Close" onClick=${close}>✕</button></header>
      ${children}
    </div>
  </dialog>`;
}

/** A question that must be answered before something is lost. */
export function Confirm({ title, text, action, confirmed, close }) {
  return html`<${Dialog} title=${title} close=${close}>
    <p>${text}</p>
    <footer><button type="button" onClick=${close}>Cancel</button>
      <button type="button" class="bad" onClick=${() => { close(); confirmed(); }}>${action}</button></footer>
  </${Dialog}>`;
}

/** A state in a word; `kind` is `good`, `bad`, `busy` or `idle`. */
export function Badge({ kind = "idle", children }) {
  return html`<span class="badge ${kind}">${children}</span>`;
}

/** How far something is; `done` and `total` in any unit, `total` 0 if it is not known. */
export function Progress({ label, done, total }) {
  const known = total > 0;
  return html`<progress aria-label=${label} value=${known ? Math.min(done, total) : undefined} max=${known ? total : undefined}></progress>`;
}

/** A labelled input. */
export function Field({ label, children, hint }) {
  return html`<label class="field"><span>${label}</span>${children}${hint && html`<small>${hint}</small>`}</label>`;
}

/** A choice among values; `options` are `[value, text]`. */
export function Choice({ label, value, options, choose }) {
  const id = useId();
  return html`<div class="field"><label for=${id}>${label}</label>
    <select id=${id} value=${value} onChange=${(event) => choose(event.target.value)}>
      ${options.map(([option, text]) => html`<option key=${option} value=${option} selected=${option === value}>${text}</option>`)}
    </select>
  </div>`;
}

/** Which system; nothing to choose where there is one. */
export function SystemChoice({ session, value, choose }) {
  if (session.systems.length < 2) return null;
  return html`<${Choice} label="System" value=${value} choose=${choose} options=${session.systems.map((name) => [name, name])} />`;
}

/** A button that copies a text. */
export function Copy({ text, children, session }) {
  const copy = () => session.attempt(async () => {
    if (!navigator.clipboard) throw new Error("Browsers copy on pages of https only");
    await navigator.clipboard.writeText(text());
    session.toast("Copied", "good");
  });
  return html`<button type="button" onClick=${copy}>${children}</button>`;
}

/** What was told in passing. */
export function Toasts({ session }) {
  useWatch(session);
  const shown = useRef(null);
  useEffect(() => {
    // the one shown last lies above the others, above dialogs, too
    if (shown.current.matches(":popover-open")) shown.current.hidePopover();
    shown.current.showPopover();
  }, [session.toasts.length]);
  return html`<div class="toasts" popover="manual" ref=${shown} role="status" aria-live="polite">${session.toasts.map(
    (toast) => html`<div key=${toast.id} class="toast ${toast.kind}"><span>${toast.text}</span>
      <button type="button" class="plain" aria-label="Dismiss" onClick=${() => session.dismiss(toast.id)}>✕</button></div>`,
  )}</div>`;
}

/**
 * `{value, error, busy, reload}` of something asked for; asked again when `inputs` change.
 *
 * `ask` gets an AbortSignal that fires when the answer is of no interest any more. The last value
 * stays while the next is asked for.
 */
export function useAnswer(ask, inputs) {
  const [state, set] = useState({ busy: true });
  const [nth, again] = useState(0);
  useEffect(() => {
    const controller = new AbortController();
    set((before) => ({ ...before, busy: true }));
    ask(controller.signal).then(
      (value) => controller.signal.aborted || set({ value, busy: false }),
      (error) => controller.signal.aborted || set((before) => ({ ...before, error, busy: false })),
    );
    return () => controller.abort();
  }, [...inputs, nth]);
  return { ...state, reload: () => again((n) => n + 1) };
}

/** What went wrong, instead of an answer or above an old one. */
export function Failure({ error }) {
  return error ? html`<p class="failure" role="alert">${error.message}</p>` : null;
}
