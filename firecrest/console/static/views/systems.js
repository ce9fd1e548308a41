// How services, systems and file systems are, and what a system has to compute with.
import { Badge, Failure, Table, useAnswer } from "../components.js";
import { moment } from "../format.js";
import { Nodes } from "../nodes.js";
import { href } from "../router.js";
import { html, useEffect, useRef } from "../ui.js";

/** Milliseconds between looks at the status; the server itself keeps its answers for a while. */
const EVERY = 60_000;

/** Do something every so often, as long as somebody looks. */
function useWhileSeen(work) {
  const current = useRef(work);
  current.current = work;
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && current.current(), EVERY);
    return () => clearInterval(timer);
  }, []);
}

const State = ({ status }) => html`<${Badge} kind=${status === "available" ? "good" : "bad"}>${status}</${Badge}>`;

/** What is asked for, and when it was told. */
const dated = async (value) => ({ ...(await value), at: Date.now() });

function Services({ services }) {
  return html`<section class="panel" aria-label="Services"><h2>Services</h2>
    <ul class="facts-list">${services.map(({ service, status, description }) => html`<li key=${service}>
      <strong>${service}</strong> <${State} status=${status} />${status !== "available" && html` <span class="soft">${description}</span>`}</li>`)}</ul>
  </section>`;
}

function System({ system: { system, status, description }, mounted, current }) {
  return html`<section class="panel" aria-label=${`System ${system}`}>
    <h2><a href=${href("systems", [system])} aria-current=${current ? "true" : undefined}>${system}</a> <${State} status=${status} /></h2>
    <p class="soft">${description}</p>
    <h3>File systems</h3>
    ${mounted.length ? html`<ul class="facts-list">${mounted.map((one) => html`<li key=${one.path}>
      <a href=${href("files", [system, one.path])}>${one.path}</a> <${State} status=${one.status} />${" "}
      <span class="soft">${[one.name, one.description].filter(Boolean).join(": ")}</span></li>`)}</ul>`
    : html`<p class="soft">None are named.</p>`}
  </section>`;
}

const PARTITIONS = [
  { key: "name", title: "Partition", cell: (row) => html`${row.PartitionName}${row.Default === "YES" && html` <span class="soft">(default)</span>`}` },
  { key: "state", title: "State", cell: ({ State: state }) => html`<${Badge} kind=${state === "UP" ? "good" : "bad"}>${state}</${Badge}>` },
  { key: "nodes", title: "Nodes", kind: "number", cell: ({ TotalNodes }) => TotalNodes },
  { key: "cpus", title: "CPUs", kind: "number", cell: ({ TotalCPUs }) => TotalCPUs },
];
const RESERVATIONS = [
  { key: "name", title: "Reservation", cell: ({ ReservationName }) => ReservationName },
  { key: "state", title: "State", cell: ({ State: state }) => html`<${Badge} kind=${state === "ACTIVE" ? "busy" : "idle"}>${state}</${Badge}>` },
  { key: "nodes", title: "Nodes", cell: ({ Nodes: nodes }) => nodes },
  { key: "start", title: "Start", kind: "wide", cell: ({ StartTime }) => StartTime.replace("T", " ") },
  { key: "end", title: "End", cell: ({ EndTime }) => EndTime.replace("T", " ") },
  { key: "features", title: "Features", kind: "wide", cell: ({ Features }) => (Features ?? []).join(", ") },
];

/** One part of the inventory; each is a task, so they are asked for only when wanted. */
function Part({ title, asked, children }) {
  return html`<h3>${title}</h3><${Failure} error=${asked.error} />
    ${asked.value ? children(asked.value) : asked.busy && html`<p class="soft">Asking the batch system…</p>`}`;
}

function Inventory({ session, system, refreshed }) {
  const ask = (what) => useAnswer(async (signal) => {
    const receipt = await session.api.get(`/compute/${what}`, { system, signal });
    return Object.values(await session.tasks.answer(receipt));
  }, [session, system, refreshed]);
  const [nodes, partitions, reservations] = [ask("nodes"), ask("partitions"), ask("reservations")];
  return html`<section class="panel" aria-label=${`Nodes of ${system}`}><h2>What ${system} computes with</h2>
    <${Part} title="Nodes" asked=${nodes}>${(value) => html`<${Nodes} nodes=${value} />`}</${Part}>
    <${Part} title="Partitions" asked=${partitions}>${(value) => html`<${Table} caption="Partitions" columns=${PARTITIONS}
      rows=${value} id=${({ PartitionName }) => PartitionName} empty="There are no partitions." />`}</${Part}>
    <${Part} title="Reservations" asked=${reservations}>${(value) => html`<${Table} caption="Reservations" columns=${RESERVATIONS}
      rows=${value} id=${({ ReservationName }) => ReservationName} empty="There are no reservations." />`}</${Part}>
  </section>`;
}

function View({ session, route }) {
  const { parts: [system = session.systems[0]] } = route;
  const refreshed = useRef(0);
  const fresh = useRef(false);
  const status = useAnswer((signal) => {
    const headers = fresh.current ? { "Cache-Control": "no-cache" } : {};
    fresh.current = false;
    const get = (what) => session.api.get(`/status/${what}`, { headers, signal }).then(({ out }) => out);
    return dated(Promise.all([get("services"), get("systems"), get("filesystems")])
      .then(([services, systems, mounted]) => ({ services, systems, mounted })));
  }, [session]);
  useWhileSeen(() => status.busy || status.reload());
  const refresh = () => {
    fresh.current = true;
    refreshed.current += 1;
    status.reload();
  };
  const { value } = status;
  return html`<h1>Systems</h1>
    <div class="bar"><button type="button" disabled=${status.busy} onClick=${refresh}>Look again</button>
      <span class="soft" role="status">${status.busy ? "Looking…" : value && `Looked at ${moment(value.at)}`}</span></div>
    <${Failure} error=${status.error} />
    ${value && html`<div class="cards"><${Services} services=${value.services} />
      ${value.systems.map((one) => html`<${System} key=${one.system} system=${one} current=${one.system === system}
        mounted=${value.mounted[one.system] ?? []} />`)}</div>`}
    ${system && html`<${Inventory} key=${system} session=${session} system=${system} refreshed=${refreshed.current} />`}`;
}

export default { name: "systems", title: "Systems", View };
