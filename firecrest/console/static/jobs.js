// Batch jobs: how their states look, and how they are watched.
import { html, useEffect, useState } from "./ui.js";
import { Badge } from "./components.js";

const MOST_WATCHED = 1000;
const BUSY = new Set(["RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING"]);
const WAITING = new Set(["PENDING", "CONFIGURING", "REQUEUED", "SUSPENDED", "RESIZING"]);

export function State({ state }) {
  const kind = BUSY.has(state) ? "busy" : WAITING.has(state) ? "idle" : state === "COMPLETED" ? "good" : "bad";
  return html`<${Badge} kind=${kind}>${state}</${Badge}>`;
}

/** The last message of the channel `jobs` of each of these jobs, by id, as long as one looks. */
export function useJobs(session, system, ids, refused) {
  const [told, tell] = useState(new Map());
  const watched = ids.slice(0, MOST_WATCHED);
  useEffect(() => {
    tell(new Map());
    if (!watched.length) return undefined;
    const wanted = new Set(watched);
    const silence = session.stream.listen((message) => {
      if (message.event !== "job" || message.system !== system || !wanted.has(message.jobid)) return;
      tell((before) => new Map(before).set(message.jobid, message));
    });
    const end = session.stream.subscribe(() => ({ jobs: { system, ids: watched } }), refused);
    return () => {
      end();
      silence();
    };
  }, [session, system, watched.join()]);
  return told;
}

/** Cancel a job; the answer of the batch system is told. */
export function cancel(session, system, jobid) {
  return session.attempt(async () => {
    const receipt = await session.api.delete(`/compute/jobs/${encodeURIComponent(jobid)}`, { system });
    const said = await session.tasks.outcome(receipt);
    session.toast(said || `Job ${jobid} is cancelled`, "good");
  });
}
