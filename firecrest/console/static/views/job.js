// One job: its state as it changes, and what it writes as it is written.
import { Confirm, Copy, Failure, useAnswer } from "../components.js";
import { shellWord } from "../format.js";
import { State, cancel, useJobs } from "../jobs.js";
import { Output } from "../output.js";
import { href } from "../router.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState, useWatch } from "../ui.js";

const NEAR_END = 8;

function Pane({ title, output }) {
  useWatch(output);
  const pane = useRef(null);
  const [follow, setFollow] = useState(true);
  useLayoutEffect(() => {
    if (follow) pane.current.scrollTop = pane.current.scrollHeight;
  }, [output.pieces, follow]);
  const scrolled = () => {
    const { scrollHeight, scrollTop, clientHeight } = pane.current;
    setFollow(scrollHeight - scrollTop - clientHeight < NEAR_END);
  };
  const state = output.error ? "" : output.ended ? "ended" : "following";
  return html`<section class="output" aria-label=${title}>
    <header><h2>${title}</h2><span class="soft">${state}</span>
      <label class="check"><input type="checkbox" checked=${follow}
        onChange=${(event) => setFollow(event.target.checked)} /> Keep to the end</label></header>
    ${output.error && html`<p class="failure" role="alert">${output.error}
      <button type="button" onClick=${() => output.open()}>Try again</button></p>`}
    ${output.cut && html`<p class="soft">The beginning is not shown.</p>`}
    <pre ref=${pane} tabindex="0" aria-label=${`${title} of the job`} onScroll=${scrolled}>${
  output.pieces.map(({ offset, text }) => html`<span key=${offset}>${text}</span>`)}</pre>
  </section>`;
}

/** Both streams, or one where a job writes both to the same file. */
function Outputs({ session, system, jobid, paths }) {
  const [out, err] = useMemo(
    () => ["stdout", "stderr"].map((name) => new Output(session.stream, system, jobid, name)),
    [session, system, jobid],
  );
  useWatch(out);
  useWatch(err);
  useEffect(() => {
    out.open();
    err.open();
    return () => {
      out.close();
      err.close();
    };
  }, [out, err]);
  const merged = paths ? paths[0] === paths[1] : out.merged;
  if (merged) return html`<${Pane} title="Output and errors" output=${out} />`;
  return html`<div class="outputs"><${Pane} title="Output" output=${out} /><${Pane} title="Errors" output=${err} /></div>`;
}

/** Where a job that is in the queue writes; null if it is not. */
function useFiles(session, system, jobid) {
  return useAnswer(async (signal) => {
    const path = `/compute/jobs/${encodeURIComponent(jobid)}`;
    const receipt = await session.api.get(path, { system, signal });
    session.tasks.quieten(receipt.task_id);
    const { status, data } = await session.tasks.ended(receipt.task_id);
    const row = status === "200" ? Object.values(data)[0] : null;
    return row?.job_file_out?.startsWith("/") ? row : null;
  }, [session, system, jobid]);
}

export function Job({ session, system, jobid }) {
  const [refused, refuse] = useState("");
  const [asked, ask] = useState(false);
  const told = useJobs(session, system, [jobid], refuse).get(jobid);
  const files = useFiles(session, system, jobid);
  const row = told?.job ?? {};
  const facts = [
    ["Name", row.name], ["Partition", row.partition], ["Nodes", row.nodes],
    [told?.final ? "Node list" : "Nodes or reason", row.nodelist],
    ["Started", told?.final ? row.start_time : row.time],
    ["Ended", row.termination_time], ["Elapsed", row.elapsed_time ?? row.start_time],
    ["Exit code", row.exit_code], ["Script", files.value?.job_file],
    ["Output", files.value?.job_file_out], ["Errors", files.value?.job_file_err],
  ].filter(([, value]) => value);
  const curl = () => `curl ${shellWord(`${location.origin}/compute/jobs/${jobid}`)} -H "Authorization: Bearer $TOKEN" -H ${shellWord(`X-Machine-Name: ${system}`)}`;
  return html`<p><a href=${href("jobs", [system])}>Jobs of ${system}</a></p>
    <div class="bar"><h1>Job ${jobid}</h1><span role="status" aria-label="State">${told && html`<${State} state=${told.state} />`}</span>
      <span class="spread"></span>
      <${Copy} session=${session} text=${curl}>Copy as curl</${Copy}>
      ${told && !told.final && html`<button type="button" class="bad" onClick=${() => ask(true)}>Cancel</button>`}</div>
    ${refused && html`<${Failure} error=${{ message: refused }} />`}
    ${facts.length > 0 && html`<dl class="panel facts">${facts.map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${value}</dd>`)}</dl>`}
    <${Outputs} session=${session} system=${system} jobid=${jobid}
      paths=${files.value && [files.value.job_file_out, files.value.job_file_err]} />
    ${asked && html`<${Confirm} title="Cancel a job" text=${`Cancel job ${jobid}?`} action="Cancel the job"
      confirmed=${() => cancel(session, system, jobid)} close=${() => ask(false)} />`}`;
}
