// Tasks, live: each transition as it happens, and how long each state took.
import { Badge, Choice, Copy, Dialog, Progress, Table } from "../components.js";
import { duration, moment, shellWord, size } from "../format.js";
import { href } from "../router.js";
import { hasFailed, isFinal, subject, utc } from "../tasks.js";
import { html, useNow, useWatch } from "../ui.js";

const kindOf = (task) => (hasFailed(task) ? "bad" : isFinal(task) ? "good" : "busy");

/** Ticks while there is something whose time runs. */
function Since({ at }) {
  const now = useNow();
  return html`<span class="soft">${duration(Math.max(0, now - at))}</span>`;
}

/** What lies between two states; `~` where a list told them, to the second, or one was missed. */
function between(step, next) {
  const time = next.at - step.at;
  if (next.sure && step.event && next.event) return duration(time);
  return time < 1000 ? "~1 s" : `~${duration(1000 * Math.round(time / 1000))}`;
}

/** The states one after the other, with the time between. */
function Steps({ entry }) {
  const { steps, task } = entry;
  return html`<ol class="steps" aria-label="States">${steps.map((step, nth) => {
    const next = steps[nth + 1];
    return html`<li key=${`${step.status} ${step.at}`}>
      <${Badge} kind=${next ? "idle" : kindOf(task)}>${step.status}</${Badge}>
      ${next && html`<span class="soft">${between(step, next)}</span>`}
      ${!next && !isFinal(task) && html`<${Since} at=${step.at} />`}
    </li>`;
  })}</ol>`;
}

function Moved({ task }) {
  const progress = task.data?.progress;
  if (!progress || isFinal(task)) return null;
  const { bytes_done: done, bytes_total: total, rate } = progress;
  return html`<div class="moved"><${Progress} label="Transferred" done=${done} total=${total} />
    <span class="soft">${size(done)} of ${size(total)}${rate ? `, ${size(rate)}/s` : ""}${
  progress.parts_total ? `, part ${progress.parts_done} of ${progress.parts_total}` : ""}</span></div>`;
}

const COLUMNS = [
  { key: "id", title: "Task", cell: ({ task }) =>
    html`<a class="mono" href=${href("tasks", [task.hash_id])}>${task.hash_id.slice(0, 8)}</a>` },
  { key: "state", title: "State", cell: ({ task }) =>
    html`<${Badge} kind=${kindOf(task)}>${task.description}</${Badge}><${Moved} task=${task} />` },
  { key: "steps", title: "Times between states", kind: "wide", cell: (entry) => html`<${Steps} entry=${entry} />` },
  { key: "service", title: "Service", kind: "wide", cell: ({ task }) => task.service },
  { key: "system", title: "System", kind: "wide", cell: ({ task }) => task.system },
  { key: "subject", title: "About", cell: ({ task }) => html`<span class="clip">${subject(task)}</span>` },
  { key: "created", title: "Created", kind: "wide number", cell: ({ steps }) => moment(steps[0].at) },
];

const STATES = {
  "": () => true,
  running: (task) => !isFinal(task),
  finished: (task) => isFinal(task) && !hasFailed(task),
  failed: hasFailed,
};

function Filters({ entries, query, choose }) {
  const values = (key) => [...new Set(entries.map(({ task }) => task[key]))].sort();
  const any = (key) => [["", "All"], ...values(key).map((value) => [value, value])];
  return html`<div class="bar" role="search" aria-label="Filter">
    <${Choice} label="Service" value=${query.service ?? ""} options=${any("service")} choose=${(service) => choose({ service })} />
    <${Choice} label="System" value=${query.system ?? ""} options=${any("system")} choose=${(system) => choose({ system })} />
    <${Choice} label="State" value=${query.state ?? ""} choose=${(state) => choose({ state })}
      options=${[["", "All"], ["running", "Running"], ["finished", "Finished"], ["failed", "Failed"]]} />
    <label class="check"><input type="checkbox" checked=${query.questions === "1"}
      onChange=${(event) => choose({ questions: event.target.checked ? "1" : "" })} /> Questions of this page, too</label>
  </div>`;
}

/** The call that tells of the task, as one types it; the token stays out of it. */
function curl(task) {
  return `curl ${shellWord(task.task_url)} -H "Authorization: Bearer $TOKEN"`;
}

function Details({ session, entry, id, close }) {
  if (!entry) {
    return html`<${Dialog} title="Task" close=${close}><p class="failure">There is no task ${id}.</p></${Dialog}>`;
  }
  const { task } = entry;
  const jobid = task.data?.jobid;
  const url = task.status === "117" ? task.data?.url : null;
  return html`<${Dialog} title=${`Task ${task.hash_id}`} close=${close} wide>
    <p><${Badge} kind=${kindOf(task)}>${task.status}</${Badge}> ${task.description}</p>
    <${Moved} task=${task} />
    <${Steps} entry=${entry} />
    <dl>
      <dt>About</dt><dd>${subject(task) || "–"}</dd>
      <dt>Service</dt><dd>${task.service}</dd>
      <dt>System</dt><dd>${task.system}</dd>
      <dt>Created</dt><dd>${moment(utc(task.created_at))}</dd>
      <dt>Changed</dt><dd>${moment(utc(task.updated_at))}</dd>
      ${jobid !== undefined && html`<dt>Job</dt><dd><a href=${href("jobs", [task.system, String(jobid)])}>${jobid}</a></dd>`}
      ${url && html`<dt>File</dt><dd><a href=${url} rel="noreferrer" download>Download</a></dd>`}
    </dl>
    <pre tabindex="0" aria-label="The task as JSON">${JSON.stringify(task, null, 2)}</pre>
    <footer>
      <${Copy} session=${session} text=${() => curl(task)}>Copy as curl</${Copy}>
      <${Copy} session=${session} text=${() => JSON.stringify(task, null, 2)}>Copy JSON</${Copy}>
    </footer>
  </${Dialog}>`;
}

function View({ session, route, router }) {
  const tasks = useWatch(session.tasks);
  const { query, parts: [id] } = route;
  const own = tasks.list().filter(({ quiet }) => query.questions === "1" || !quiet);
  const rows = own.filter(({ task }) =>
    (!query.service || task.service === query.service) &&
    (!query.system || task.system === query.system) &&
    (STATES[query.state ?? ""] ?? STATES[""])(task));
  const go = (parts, changes = {}) => router.go("tasks", parts, { ...query, ...changes }, true);
  return html`<h1>Tasks</h1>
    <${Filters} entries=${own} query=${query} choose=${(changes) => go([], changes)} />
    <${Table} caption="Tasks" columns=${COLUMNS} rows=${rows} id=${({ task }) => task.hash_id}
      open=${({ task }) => go([task.hash_id])} selected=${id}
      empty=${tasks.loaded ? "No tasks here. What you start, here or elsewhere, appears by itself." : "Reading…"} />
    ${id && tasks.loaded && html`<${Details} session=${session} entry=${tasks.get(id)} id=${id} close=${() => go([])} />`}`;
}

export default { name: "tasks", title: "Tasks", View };
