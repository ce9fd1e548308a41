// One file or directory: what it is, what is in it, and what can be done with it.
import { Copy, Dialog, Failure, useAnswer } from "../components.js";
import { moment, size } from "../format.js";
import { REFUSED_CHARACTERS, acceptable } from "../paths.js";
import { described } from "../permissions.js";
import { html, useState } from "../ui.js";

const TYPE_BITS = 0o170000;
const DIRECTORY = 0o040000;
const SOME_LINES = 200;

/** The content as text, whole or its beginning or end. */
function Content({ session, system, path, bytes }) {
  const { direct } = session.transfers;
  const small = bytes <= direct;
  const [part, show] = useState(small ? "view" : "head");
  const text = useAnswer((signal) => session.api.get(`/utilities/${part}`, {
    system, query: { targetPath: path, lines: part === "view" ? undefined : SOME_LINES }, signal,
  }).then(({ output }) => output), [session, system, path, part]);
  return html`${!small && html`<p>Files up to ${size(direct)} are shown whole; this one has ${size(bytes)}.
      <button type="button" aria-pressed=${part === "head"} onClick=${() => show("head")}>First ${SOME_LINES} lines</button>
      <button type="button" aria-pressed=${part === "tail"} onClick=${() => show("tail")}>Last ${SOME_LINES} lines</button></p>`}
    <${Failure} error=${text.error} />
    ${text.busy ? html`<p class="soft">Reading…</p>` : text.value !== undefined && !text.error && html`<pre class="content" tabindex="0" aria-label="Content">${text.value}</pre>`}`;
}

function Checksum({ session, system, path }) {
  const [sum, set] = useState("");
  const ask = () => session.attempt(async () => {
    set("…");
    const answer = await session.api.get("/utilities/checksum", { system, query: { targetPath: path } })
      .catch((error) => { set(""); throw error; });
    set(answer.output);
  });
  return sum ? html`<code>${sum}</code>` : html`<button type="button" onClick=${ask}>Compute</button>`;
}

export function Item({ session, system, path, row, kind, close, browse, ask }) {
  const known = acceptable(path);
  const [viewing, view] = useState(false);
  const about = useAnswer(async (signal) => {
    if (!known) return {};
    const query = { targetPath: path };
    const stat = (more) => session.api.get("/utilities/stat", { system, query: { ...query, ...more }, signal }).then(({ output }) => output);
    const [own, target, file] = await Promise.all([
      stat(),
      row.type === "l" ? stat({ dereference: "true" }) : null,
      session.api.get("/utilities/file", { system, query, signal }).then(({ output }) => output, (error) => error.message),
    ]);
    return { own, target: target ?? own, file };
  }, [session, system, path]);
  const { own, target, file } = about.value ?? {};
  const directory = row.type === "d" || (target && (target.mode & TYPE_BITS) === DIRECTORY);
  const readable = known && target && !directory;
  const { rights, remarks } = described(row);
  return html`<${Dialog} title=${row.name} close=${close} wide>
    ${!known && html`<p class="failure">The server takes no paths with any of ${REFUSED_CHARACTERS} in them, so that
      nothing can be done with this one here.</p>`}
    <${Failure} error=${about.error} />
    <dl>
      <dt>Kind</dt><dd>${kind}${file && html`<span class="soft">, ${file}</span>`}</dd>
      ${row.link_target && html`<dt>Leads to</dt><dd>${row.link_target}</dd>`}
      <dt>Path</dt><dd>${path}</dd>
      <dt>Size</dt><dd>${size(target?.size ?? row.size)} <span class="soft">(${target?.size ?? row.size} bytes)</span></dd>
      <dt>Owner</dt><dd>${row.user}, group ${row.group}</dd>
      ${rights.map(([what, who]) => html`<dt key=${what}>May ${what}</dt><dd>${who}</dd>`)}
      ${remarks.length > 0 && html`<dt>Also</dt><dd>${remarks.join(", ")}</dd>`}
      <dt>Mode</dt><dd><code>${row.type}${row.permissions}</code>${own && html` <code>${(own.mode & 0o7777).toString(8).padStart(4, "0")}</code>`}</dd>
      ${own && html`<dt>Changed</dt><dd>${moment(own.mtime * 1000)}</dd>
        <dt>Read</dt><dd>${moment(own.atime * 1000)}</dd>
        <dt>Names</dt><dd>${own.nlink}</dd>`}
      ${readable && html`<dt>SHA-256</dt><dd><${Checksum} session=${session} system=${system} path=${path} /></dd>`}
    </dl>
    ${viewing && html`<${Content} session=${session} system=${system} path=${path} bytes=${target.size} />`}
    <footer>
      <${Copy} session=${session} text=${() => path}>Copy path</${Copy}>
      ${known && html`<button type="button" onClick=${() => ask({ kind: "rename", row })}>Rename</button>
        <button type="button" class="bad" onClick=${() => ask({ kind: "delete", row })}>Delete</button>`}
      ${known && directory && html`<button type="button" class="primary" onClick=${() => browse(path)}>Open</button>`}
      ${readable && html`<button type="button" onClick=${() => view(!viewing)} aria-expanded=${viewing}>View</button>
        <button type="button" class="primary" onClick=${() => { close(); session.transfers.download(system, path, target.size); }}>Download</button>`}
    </footer>
  </${Dialog}>`;
}
