// The queue and the accounting of a system; one job is in job.js, submitting in submit.js.
import { Choice, Confirm, Failure, SystemChoice, Table, useAnswer } from "../components.js";
import { State, cancel, useJobs } from "../jobs.js";
import { href } from "../router.js";
import { html, useState, useWatch } from "../ui.js";
import { Job } from "./job.js";
import { Submit } from "./submit.js";

const DAY = 86_400_000;
const DEFAULT_DAYS = 7;

const byNumber = (a, b) => parseInt(b.jobid, 10) - parseInt(a.jobid, 10);

function link(system) {
  return ({ jobid }) => html`<a href=${href("jobs", [system, jobid])}>${jobid}</a>`;
}

/** How many submissions the stream has told of: the queue is read again with each. */
function submissions(tasks, system) {
  return tasks.list().filter(({ task }) => task.system === system && task.data?.jobid !== undefined).length;
}

function Queue({ session, system, open }) {
  const tasks = useWatch(session.tasks);
  const [asked, ask] = useState(null);
  const queue = useAnswer(async (signal) => {
    const receipt = await session.api.get("/compute/jobs", { system, signal });
    return Object.values(await session.tasks.answer(receipt)).sort(byNumber);
  }, [session, system, submissions(tasks, system)]);
  const rows = queue.value ?? [];
  const told = useJobs(session, system, rows.map(({ jobid }) => jobid), (error) => session.toast(error, "bad"));
  const now = (row) => ({ ...row, ...told.get(row.jobid)?.job, final: told.get(row.jobid)?.final });
  const columns = [
    { key: "job", title: "Job", cell: link(system) },
    { key: "name", title: "Name", cell: ({ name }) => name },
    { key: "state", title: "State", cell: ({ state }) => html`<${State} state=${state} />` },
    { key: "partition", title: "Partition", kind: "wide", cell: ({ partition }) => partition },
    // historic names: start_time is the elapsed time
    { key: "elapsed", title: "Elapsed", kind: "wide number", cell: (row) => row.elapsed_time ?? row.start_time },
    { key: "left", title: "Left", kind: "wide number", cell: (row) => (row.final ? "" : row.time_left) },
    { key: "nodes", title: "Nodes", kind: "wide number", cell: ({ nodes }) => nodes },
    { key: "where", title: "Nodes or reason", kind: "wide", cell: ({ nodelist }) => nodelist },
    { key: "cancel", title: html`<span class="unseen">Action</span>`, cell: ({ jobid, final }) => !final && html`<button type="button"
      aria-label=${`Cancel job ${jobid}`} onClick=${() => ask(jobid)}>Cancel</button>` },
  ];
  return html`<${Failure} error=${queue.error} />
    <${Table} caption="Queue" columns=${columns} rows=${rows.map(now)} id=${({ jobid }) => jobid}
      open=${({ jobid }) => open(jobid)}
      empty=${queue.busy ? "Asking the batch system…" : "You have no jobs in the queue."} />
    <p class="bar"><button type="button" disabled=${queue.busy} onClick=${queue.reload}>Ask again</button></p>
    ${asked && html`<${Confirm} title="Cancel a job" text=${`Cancel job ${asked}?`} action="Cancel the job"
      confirmed=${() => cancel(session, system, asked)} close=${() => ask(null)} />`}`;
}

const day = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 10);

function Accounting({ session, system, open }) {
  const [since, from] = useState(day(Date.now() - DEFAULT_DAYS * DAY));
  const account = useAnswer(async (signal) => {
    const receipt = await session.api.get("/compute/acct", { system, signal, query: { starttime: since } });
    return Object.values(await session.tasks.answer(receipt)).sort(byNumber);
  }, [session, system, since]);
  const columns = [
    { key: "job", title: "Job", cell: link(system) },
    { key: "name", title: "Name", cell: ({ name }) => name },
    { key: "state", title: "State", cell: ({ state }) => html`<${State} state=${state.split(" ")[0]} />` },
    { key: "partition", title: "Partition", kind: "wide", cell: ({ partition }) => partition },
    { key: "start", title: "Start", kind: "wide", cell: (row) => row.start_time.replace("T", " ") },
    { key: "end", title: "End", kind: "wide", cell: (row) => row.termination_time.replace("T", " ") },
    { key: "elapsed", title: "Elapsed", kind: "number", cell: (row) => row.elapsed_time },
    { key: "nodes", title: "Nodes", kind: "wide number", cell: ({ nodes }) => nodes },
    { key: "exit", title: "Exit code", kind: "wide number", cell: (row) => row.exit_code },
  ];
  return html`<div class="bar"><label class="field"><span>Since</span><input type="date" value=${since}
      onChange=${(event) => event.target.value && from(event.target.value)} /></label></div>
    <${Failure} error=${account.error} />
    <${Table} caption="Accounting" columns=${columns} rows=${account.value ?? []} id=${({ jobid }) => jobid}
      open=${({ jobid }) => open(jobid)}
      empty=${account.busy ? "Asking the accounting…" : "No jobs in this time."} />`;
}

function View({ session, route, router }) {
  const [submitting, submit] = useState(false);
  const { query, parts: [system = session.systems[0], jobid] } = route;
  const shown = query.show === "accounting" ? "accounting" : "queue";
  const open = (id, of = system) => router.go("jobs", [of, id]);
  const dialog = submitting && html`<${Submit} session=${session} system=${system} close=${() => submit(false)}
    submitted=${(of, id) => { submit(false); open(id, of); }} />`;
  if (jobid) return html`<${Job} key=${`${system} ${jobid}`} session=${session} system=${system} jobid=${jobid} />`;
  const Shown = shown === "accounting" ? Accounting : Queue;
  return html`<h1>Jobs</h1>
    <div class="bar">
      <${SystemChoice} session=${session} value=${system} choose=${(name) => router.go("jobs", [name], query)} />
      <${Choice} label="Show" value=${shown} choose=${(show) => router.go("jobs", [system], { show })}
        options=${[["queue", "Queue"], ["accounting", "Accounting"]]} />
      <button type="button" class="primary spread" onClick=${() => submit(true)}>Submit a job</button>
    </div>
    <${Shown} key=${system} session=${session} system=${system} open=${open} />
    ${dialog}`;
}

export default { name: "jobs", title: "Jobs", View };
