// The files on their way, above the files.
import { Badge, Progress } from "../components.js";
import { size } from "../format.js";
import { html, useEffect, useWatch } from "../ui.js";

function State({ entry }) {
  const { state, note, done, size: total, error, name } = entry;
  if (state === "failed") return html`<${Badge} kind="bad">Interrupted</${Badge}> <span>${error}</span>`;
  if (state === "done") return html`<${Badge} kind="good">${entry.up ? "Uploaded" : "Downloaded"}</${Badge}>`;
  if (state === "ready") return html`<${Badge} kind="good">Ready</${Badge}>`;
  return html`<${Progress} label=${`Progress of ${name}`} done=${done} total=${done ? total : 0} />
    <span class="soft">${note}${done ? `, ${size(done)} of ${size(total)}` : ""}</span>`;
}

function Entry({ entry, transfers }) {
  const { state, name, system, directory, path, url } = entry;
  return html`<li data-state=${state}><span class="name">${entry.up ? "↑" : "↓"} ${name}</span>
    <span class="soft">${entry.up ? `to ${system}:${directory || "~"}` : `from ${system}:${path}`}</span>
    <span class="moved"><${State} entry=${entry} /></span>
    <span class="acts">
      ${state === "ready" && html`<a class="button" href=${url} download=${name} target="_blank" rel="noreferrer">Save ${name}</a>`}
      ${state === "failed" && html`<button type="button" aria-label=${`Go on with ${name}`} onClick=${() => transfers.again(entry)}>Go on</button>`}
      ${state === "done"
        ? html`<button type="button" class="plain" aria-label=${`Dismiss ${name}`} onClick=${() => transfers.dismiss(entry)}>✕</button>`
        : html`<button type="button" aria-label=${`Discard ${name}`} onClick=${() => transfers.cancel(entry)}>${state === "busy" ? "Cancel" : "Discard"}</button>`}
    </span></li>`;
}

export function Transferring({ session }) {
  const transfers = useWatch(session.transfers);
  const { busy } = transfers;
  useEffect(() => {
    if (!busy) return undefined;
    const warn = (event) => event.preventDefault();
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, [busy]);
  if (!transfers.list().length) return null;
  return html`<section class="panel" aria-label="Transfers"><ul class="transfers">${transfers.list().map((entry) =>
    html`<${Entry} key=${entry.id} entry=${entry} transfers=${transfers} />`)}</ul></section>`;
}
