// Directories and what is in them; one file is in file.js, transfers in transfers.js beside it.
import { Confirm, Dialog, Failure, Field, SystemChoice, Table, useAnswer } from "../components.js";
import { size } from "../format.js";
import { REFUSED_CHARACTERS, acceptable, crumbs, directoryOf, join } from "../paths.js";
import { summary } from "../permissions.js";
import { href } from "../router.js";
import { html, useEffect, useRef, useState, useWatch } from "../ui.js";
import { Item } from "./file.js";
import { Transferring } from "./transferring.js";

const KINDS = { d: "Directory", l: "Link", b: "Device", c: "Device", s: "Socket", p: "Pipe", "-": "File" };
const ORDERS = {
  name: (a, b) => a.name.localeCompare(b.name),
  size: (a, b) => Number(a.size) - Number(b.size),
  changed: (a, b) => a.last_modified.localeCompare(b.last_modified),
};
const NATURAL = (text) => text.replace("T", " ");

/** Directories first, then as asked for. */
function ordered(rows, key, down) {
  const order = ORDERS[key] ?? ORDERS.name;
  return [...rows].sort((a, b) => (b.type === "d") - (a.type === "d") || (down ? -1 : 1) * order(a, b));
}

/** The home directory by its whole name, where that can be told; "" else. */
async function home(session, system, signal) {
  const mounted = session.parameter("FILESYSTEMS").find((entry) => entry.system === system)?.mounted ?? [];
  const stat = (path) => session.api.get("/utilities/stat", { system, query: { targetPath: path }, signal });
  const { output: own } = await stat(".");
  for (const parent of new Set([...mounted, "/home"])) {
    const path = join(parent, session.user);
    const found = await stat(path).catch(() => null);
    if (found?.output.ino === own.ino && found.output.dev === own.dev) return path;
  }
  return "";
}

function Way({ system, path }) {
  const way = crumbs(path);
  const here = useRef(null);
  const before = useRef(path);
  useEffect(() => {
    // the link that was followed is not there any more; a screen reader is told where one is
    if (before.current && before.current !== path) here.current.focus();
    before.current = path;
  }, [path]);
  return html`<nav class="crumbs" aria-label="Path"><ol>${way.map(([name, to], nth) => html`<li key=${to}>
    ${nth === way.length - 1 ? html`<span aria-current="page" tabindex="-1" ref=${here}>${name}</span>` : html`<a href=${href("files", [system, to])}>${name}</a>`}
  </li>`)}</ol></nav>`;
}

function Places({ session, system }) {
  const mounted = session.parameter("FILESYSTEMS").find((entry) => entry.system === system)?.mounted ?? [];
  return html`<ul class="places" aria-label="Places"><li><a href=${href("files", [system])}>Home</a></li>
    ${mounted.map((path) => html`<li key=${path}><a href=${href("files", [system, path])}>${path}</a></li>`)}
  </ul>`;
}

/** A dialog that asks for a name which is not there yet. */
function Name({ title, action, first = "", taken, named, close }) {
  const [name, set] = useState(first);
  const [wrong, say] = useState("");
  const submit = (event) => {
    event.preventDefault();
    if (!name.trim() || name.includes("/") || [".", ".."].includes(name)) say("That is no name.");
    else if (!acceptable(name)) say(`The server takes no names with any of ${REFUSED_CHARACTERS}`);
    else if (taken.has(name) && name !== first) say(`There is ${name} already.`);
    else {
      close();
      if (name !== first) named(name);
    }
  };
  return html`<${Dialog} title=${title} close=${close}><form onSubmit=${submit}>
    <${Field} label="Name"><input type="text" value=${name} required onInput=${(event) => set(event.target.value)} /></${Field}>
    ${wrong && html`<p class="failure" role="alert">${wrong}</p>`}
    <footer><button type="button" onClick=${close}>Cancel</button><button class="primary">${action}</button></footer>
  </form></${Dialog}>`;
}

/** Takes files that are dropped on it; directories cannot be sent. */
function Drop({ session, send, children }) {
  const [over, set] = useState(false);
  const drop = (event) => {
    event.preventDefault();
    set(false);
    const items = [...event.dataTransfer.items].filter(({ kind }) => kind === "file");
    const files = items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile());
    if (files.length < items.length) session.toast("Directories cannot be uploaded; pack them first", "bad");
    if (files.length) send(files);
  };
  const drag = (event) => {
    event.preventDefault();
    set(true);
  };
  return html`<div class=${`drop${over ? " over" : ""}`} onDragOver=${drag} onDragLeave=${() => set(false)} onDrop=${drop}>${children}</div>`;
}

/** A button in the head of a column by which rows are ordered. */
function sorted(key, title, query, go) {
  const current = (query.sort ?? "name") === key;
  const down = current && query.down === "1";
  return {
    key,
    sort: current ? (down ? "descending" : "ascending") : undefined,
    title: html`<button type="button" class="plain order" onClick=${() => go({ sort: key, down: current && !down ? "1" : "" })}>
      ${title}<span aria-hidden="true">${current ? (down ? " ▼" : " ▲") : ""}</span></button>`,
  };
}

function Listing({ session, system, path, query, go }) {
  const { api, transfers } = session;
  const [asked, ask] = useState(null);
  const [replacing, replace] = useState(null);
  const chosen = useRef(null);
  const hidden = query.hidden === "1";
  // uploads that have come, perhaps to this directory by another name
  const come = transfers.list().filter((one) => one.up && one.state === "done" && one.system === system).length;
  const found = useAnswer((signal) => api.get("/utilities/ls", {
    system, query: { targetPath: directoryOf(path), showhidden: hidden ? "true" : undefined }, signal,
  }).then(({ output }) => output), [session, system, path, hidden, come]);
  const rows = ordered(found.value ?? [], query.sort, query.down === "1");
  const names = new Set(rows.map(({ name }) => name));
  const row = rows.find(({ name }) => name === query.file);

  const act = async (work, done) => session.attempt(async () => {
    await work();
    session.toast(done, "good");
    found.reload();
  });
  const upload = (files) => {
    const start = () => files.forEach((file) => transfers.upload(system, path, file));
    const old = files.filter(({ name }) => names.has(name));
    if (old.length) replace({ text: `${old.map(({ name }) => name).join(", ")} will be replaced.`, start });
    else start();
  };
  const pick = (event) => {
    const files = [...event.target.files];
    event.target.value = ""; // so that the same one may be chosen again
    if (files.length) upload(files);
  };
  const open = (one) => {
    if (one.type === "d" && acceptable(one.name)) go({ path: join(path, one.name), file: "" });
    else go({ file: one.name });
  };
  const columns = [
    { ...sorted("name", "Name", query, go), cell: (one) => html`<span class="kind" aria-hidden="true">${one.type === "d" ? "▸" : one.type === "l" ? "↪" : ""}</span>${
      one.type === "d" && acceptable(one.name)
        ? html`<a href=${href("files", [system, join(path, one.name)], { ...query, file: "" })}>${one.name}</a>`
        : html`<button type="button" class="link" onClick=${() => go({ file: one.name })}>${one.name}</button>`
    }${one.type !== "-" && html`<span class="unseen"> (${KINDS[one.type] ?? "Other"})</span>`}${one.link_target && html`<span class="soft"> → ${one.link_target}</span>`}` },
    { ...sorted("size", "Size", query, go), kind: "number", cell: (one) => (one.type === "d" ? "" : size(one.size)) },
    { ...sorted("changed", "Changed", query, go), kind: "wide number", cell: (one) => NATURAL(one.last_modified) },
    { key: "rights", title: "Who may", kind: "wide", cell: (one) => html`<span class="soft" title=${one.type + one.permissions}>${summary(one)}</span>` },
    { key: "more", title: html`<span class="unseen">More</span>`, cell: (one) => html`<button type="button" class="plain"
      aria-label=${`About ${one.name}`} onClick=${() => go({ file: one.name })}>⋯</button>` },
  ];
  const close = () => ask(null);
  return html`<div class="bar">
      <button type="button" class="primary" onClick=${() => chosen.current.click()}>Upload files</button>
      <input type="file" multiple class="unseen" tabindex="-1" aria-label="Files to upload" ref=${chosen} onChange=${pick} />
      <button type="button" onClick=${() => ask({ kind: "mkdir" })}>New directory</button>
      <button type="button" disabled=${found.busy} onClick=${found.reload}>Read again</button>
      <label class="check"><input type="checkbox" checked=${hidden} onChange=${(event) => go({ hidden: event.target.checked ? "1" : "" })} /> Hidden files</label>
    </div>
    <${Failure} error=${found.error} />
    <${Drop} session=${session} send=${upload}>
      <${Table} caption="Files" columns=${columns} rows=${rows} id=${({ name }) => name} open=${open} selected=${query.file}
        empty=${found.busy ? "Reading…" : found.error ? "Nothing to show." : "Nothing here. Files may be dropped on this place."} />
    </${Drop}>
    ${row && html`<${Item} session=${session} system=${system} path=${join(path, row.name)} row=${row} kind=${KINDS[row.type] ?? "Other"}
      close=${() => go({ file: "" })} browse=${(to) => go({ path: to, file: "" })} ask=${ask} />`}
    ${asked?.kind === "mkdir" && html`<${Name} title="New directory" action="Create" taken=${names} close=${close}
      named=${(name) => act(() => api.post("/utilities/mkdir", { system, form: { targetPath: join(path, name) } }), `${name} is there`)} />`}
    ${asked?.kind === "rename" && html`<${Name} title=${`Rename ${asked.row.name}`} action="Rename" first=${asked.row.name} taken=${names} close=${close}
      named=${(name) => { go({ file: "" }); act(() => api.put("/utilities/rename", { system, form: {
        sourcePath: join(path, asked.row.name), targetPath: join(path, name) } }), `It is ${name} now`); }} />`}
    ${asked?.kind === "delete" && html`<${Confirm} title=${`Delete ${asked.row.name}`} action="Delete" close=${close}
      text=${`${join(path, asked.row.name)}${asked.row.type === "d" ? " and all that is in it" : ""} will be gone for ever.`}
      confirmed=${() => { go({ file: "" }); act(() => api.delete("/utilities/rm", { system, form: { targetPath: join(path, asked.row.name) } }), `${asked.row.name} is deleted`); }} />`}
    ${replacing && html`<${Confirm} title="Replace files" action="Replace" text=${replacing.text} confirmed=${replacing.start} close=${() => replace(null)} />`}`;
}

function View({ session, route, router }) {
  useWatch(session.transfers);
  const { query, parts: [system = session.systems[0], path = ""] } = route;
  const go = ({ path: to = path, ...changes }) => router.go("files", to ? [system, to] : [system], { ...query, ...changes });
  const own = useAnswer((signal) => (path || !session.user ? Promise.resolve("") : home(session, system, signal)), [session, system, path, session.user]);
  useEffect(() => {
    if (!path && own.value) router.go("files", [system, own.value], query, true);
  }, [own.value]);
  return html`<h1>Files</h1>
    <div class="bar">
      <${SystemChoice} session=${session} value=${system} choose=${(name) => router.go("files", [name])} />
      <${Places} session=${session} system=${system} />
    </div>
    <${Way} system=${system} path=${path} />
    <${Transferring} session=${session} />
    <${Listing} key=${`${system} ${path}`} session=${session} system=${system} path=${path} query=${query} go=${go} />`;
}

export default { name: "files", title: "Files", View };
