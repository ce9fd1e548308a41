// What the page knows of the user's tasks: a list to begin with, then each transition.
import { Observable } from "./observable.js";

const FINAL = new Set(["114", "115", "117", "118", "200", "302", "400"]);
const FAILED = new Set(["115", "118", "400"]);

export const isFinal = (task) => FINAL.has(task.status);
export const hasFailed = (task) => FAILED.has(task.status);

/** What a task is about, as far as its resource tells. */
export function subject(task) {
  const { data } = task;
  if (task.service === "storage") {
    return data?.target_path ?? data?.source ?? data?.error ?? "";
  }
  if (typeof data === "string") return data === task.description ? "" : data;
  if (data?.jobid !== undefined) return `job ${data.jobid}`;
  if (data && typeof data === "object") return `${Object.keys(data).length} rows`;
  return "";
}

export class Tasks extends Observable {
  #api;
  #entries = new Map();
  #quiet = new Set();
  #waiting = new Map();

  constructor(api, stream) {
    super();
    this.#api = api;
    stream.listen((message) => {
      if (message.event === "task") this.#take(message.task, message.previous, message.id);
      if (message.event === "gap") this.load();
    });
  }

  /** Read the list; what the stream has told meanwhile is newer and stays. */
  async load() {
    const { tasks } = await this.#api.get("/tasks", { query: { view: "extended" } });
    for (const task of Object.values(tasks)) this.#take(task, null, null);
    this.changed();
  }

  /** `{task, steps, quiet}` by id; steps are `{id, status, at}`, one for each transition seen. */
  get(id) {
    return this.#entries.get(id);
  }

  /** All of them, the newest first. */
  list() {
    const entries = [...this.#entries.values()];
    return entries.sort((a, b) => b.task.created_at.localeCompare(a.task.created_at) || b.nth - a.nth);
  }

  /** Mark a question of the page's own, which need not be shown among the user's tasks. */
  quieten(id) {
    this.#quiet.add(id);
    const entry = this.#entries.get(id);
    if (entry) entry.quiet = true;
    this.changed();
  }

  /** The task, once nothing more will happen to it by itself. */
  ended(id) {
    const entry = this.#entries.get(id);
    if (entry && isFinal(entry.task)) return Promise.resolve(entry.task);
    return new Promise((resolve) => {
      this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), resolve]);
    });
  }

  /** The data of a query task; its error, as the API's own words, if it failed. */
  async answer(receipt) {
    this.quieten(receipt.task_id);
    const task = await this.ended(receipt.task_id);
    if (hasFailed(task)) throw new Error(typeof task.data === "string" ? task.data : task.description);
    return task.data;
  }

  #take(task, previous, eventId) {
    const known = this.#entries.get(task.hash_id);
    if (known && !eventId && known.task.updated_at >= task.updated_at) return;
    const entry = known ?? {
      steps: [], nth: this.#entries.size, quiet: this.#quiet.has(task.hash_id),
    };
    if (!entry.steps.length && previous !== null) {
      // it was there before the page was: where it stood is known, since when is not
      entry.steps.push({ id: null, status: previous, at: null });
    }
    const last = entry.steps.at(-1);
    if (!last || last.status !== task.status || (eventId && previous !== task.status && last.id !== eventId)) {
      // the event's id holds the moment to the millisecond, the task only the second
      const at = eventId && (previous !== null || !known) ? Number(eventId.split("-")[0]) : utc(task.updated_at);
      entry.steps.push({ id: eventId, status: task.status, at });
    }
    entry.task = task;
    this.#entries.set(task.hash_id, entry);
    if (isFinal(task)) {
      for (const resolve of this.#waiting.get(task.hash_id) ?? []) resolve(task);
      this.#waiting.delete(task.hash_id);
    }
    this.changed();
  }
}

/** Milliseconds of a time of the API, which is UTC without saying so. */
export function utc(text) {
  return Date.parse(`${text}Z`);
}
