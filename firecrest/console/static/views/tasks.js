// Tasks, live.
import { Badge, Table } from "../components.js";
import { html, useWatch } from "../ui.js";
import { hasFailed, isFinal, subject } from "../tasks.js";

function Status({ task }) {
  const kind = hasFailed(task) ? "bad" : isFinal(task) ? "good" : "busy";
  return html`<${Badge} kind=${kind}>${task.status}</${Badge}>`;
}

const COLUMNS = [
  { key: "id", title: "Task", cell: ({ task }) => task.hash_id.slice(0, 8) },
  { key: "status", title: "State", cell: ({ task }) => html`<${Status} task=${task} /> ${task.description}` },
  { key: "service", title: "Service", kind: "wide", cell: ({ task }) => task.service },
  { key: "system", title: "System", kind: "wide", cell: ({ task }) => task.system },
  { key: "subject", title: "About", cell: ({ task }) => subject(task) },
];

function View({ session }) {
  const tasks = useWatch(session.tasks);
  return html`<h1>Tasks</h1>
    <${Table} caption="Tasks" columns=${COLUMNS} rows=${tasks.list()} id=${({ task }) => task.hash_id}
      empty="No tasks yet." />`;
}

export default { name: "tasks", title: "Tasks", View };
