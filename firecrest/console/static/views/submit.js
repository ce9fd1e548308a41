// Submitting a job: a script to begin with, the account, variables.
import { Dialog, Field, SystemChoice } from "../components.js";
import { html, useState } from "../ui.js";

const TEMPLATE = `#!/bin/bash
#SBATCH --job-name=console
#SBATCH --nodes=1
#SBATCH --time=00:10:00

echo "Hello from $(hostname)"
`;

/** `NAME=value` lines as the API wants them; undefined if there are none. */
function variables(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  if (!lines.length) return undefined;
  return JSON.stringify(Object.fromEntries(lines.map((line) => {
    const [, name, value] = /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line) ?? [];
    if (!name) throw new Error(`Not a line like NAME=value: ${line}`);
    return [name, value];
  })));
}

/** `submitted(system, jobid)` is called when the job is in the queue. */
export function Submit({ session, system: given, submitted, close }) {
  const [system, choose] = useState(given);
  const [state, set] = useState({ busy: false, error: "" });
  const send = async (event) => {
    event.preventDefault();
    const fields = new FormData(event.target);
    set({ busy: true, error: "" });
    try {
      const receipt = await session.api.post("/compute/jobs", {
        system,
        form: {
          account: fields.get("account").trim() || undefined,
          env: variables(fields.get("env")),
          // forms turn line ends into CRLF, which no shell wants
          file: new File([fields.get("script").replaceAll("\r\n", "\n")], fields.get("name")),
        },
      });
      const { jobid } = await session.tasks.outcome(receipt);
      session.toast(`Job ${jobid} is submitted`, "good");
      submitted(system, String(jobid));
    } catch (error) {
      set({ busy: false, error: error.message });
    }
  };
  return html`<${Dialog} title="Submit a job" close=${close} wide>
    <form onSubmit=${send}>
      <${SystemChoice} session=${session} value=${system} choose=${choose} />
      <${Field} label="Script"><textarea name="script" rows="14" required spellcheck="false" autocapitalize="off"
        defaultValue=${TEMPLATE}></textarea></${Field}>
      <div class="columns">
        <${Field} label="File name"><input name="name" required defaultValue="job.sh" /></${Field}>
        <${Field} label="Account" hint="Empty: your default account."><input name="account" autocomplete="off" /></${Field}>
      </div>
      <${Field} label="Variables" hint="NAME=value, one a line; the job sees them as they are."><textarea name="env" rows="3" spellcheck="false"></textarea></${Field}>
      ${state.error && html`<p class="failure" role="alert">${state.error}</p>`}
      <footer><button type="button" onClick=${close}>Cancel</button>
        <button type="submit" class="primary" disabled=${state.busy}>${state.busy ? "Submitting…" : "Submit"}</button></footer>
    </form>
  </${Dialog}>`;
}
