// What the page knows of the user's tasks: a list to begin with, then each transition.
import { Observable } from "./observable.js";

const FINAL = new Set(["114", "115", "117", "118", "200", "302", "400"]);
/** How many ended tasks are remembered, the newest: questions, whose answers may be large, and others. */
const QUESTIONS_KEPT = 20;
const OTHERS_KEPT = 2000;
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

/** Whether its data are the answer to a question, rather than what became of an action. */
function isQuestion(task) {
  const { data, service, status } = task;
  if (service !== "compute" || status !== "200" || !data || typeof data !== "object") return false;
  return Array.isArray(data) || "0" in data || !Object.keys(data).length;
}

export class Tasks extends Observable {
  #api;
  #entries = new Map();
  #quiet = new Set();
  #waiting = new Map();
  #loaded = false;

  /** `failed` is told why the list could not be read. */
  constructor(api, stream, failed) {
    super();
    this.#api = api;
    stream.listen(({ event, id, task, previous }) => {
      if (event === "task") this.#transition(id, task, previous);
      // once; a stream that comes back tells what happened meanwhile, or that it cannot
      if (event === "gap" || (event === "hello" && !this.#loaded)) this.#load().catch(failed);
    });
  }

  /** Whether the list has been read. */
  get loaded() {
    return this.#loaded;
  }

  /** `{task, steps, quiet}` by id; `steps` are the states seen: `{status, at, event, sure}`. */
  get(id) {
    return this.#entries.get(id);
  }

  /** All of them, the newest first. */
  list() {
    return [...this.#entries.values()].sort((a, b) => b.steps[0].at - a.steps[0].at);
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

  /** The data of the task of a receipt; throws its error, in the API's own words. */
  async outcome(receipt) {
    const { data, description, status } = await this.ended(receipt.task_id);
    if (FAILED.has(status)) throw new Error(typeof data === "string" ? data : data?.error ?? description);
    return data;
  }

  /** The same for a question of the page's own. */
  answer(receipt) {
    this.quieten(receipt.task_id);
    return this.outcome(receipt);
  }

  async #load() {
    const { tasks } = await this.#api.get("/tasks", { query: { view: "extended" } });
    this.#loaded = true;
    for (const task of Object.values(tasks)) this.#listed(task);
    this.#forget();
    this.changed();
  }

  /** What a list tells: the state, but not how the task came there, and times to the second. */
  #listed(task) {
    const known = this.#entries.get(task.hash_id);
    if (known && known.task.updated_at >= task.updated_at) return; // the stream was faster
    const entry = known ?? this.#entry(task, isQuestion(task));
    if (!known) entry.steps.push({ status: "100", at: utc(task.created_at), event: null, sure: true });
    if (entry.steps.at(-1).status !== task.status) {
      const sure = task.service === "compute"; // there is nothing between its two states
      entry.steps.push({ status: task.status, at: utc(task.updated_at), event: null, sure });
    }
    this.#update(entry, task);
  }

  /** What an event tells; its id holds the moment to the millisecond. */
  #transition(id, task, previous) {
    const entry = this.#entries.get(task.hash_id) ?? this.#entry(task, false);
    const at = Number(id.split("-")[0]);
    if (!entry.steps.length && previous !== null) {
      entry.steps.push({ status: "100", at: utc(task.created_at), event: null, sure: true });
    }
    const last = entry.steps.at(-1);
    if (last?.status !== task.status) {
      entry.steps.push({ status: task.status, at, event: id, sure: previous === null || previous === last.status });
    } else if (last.event === null && previous !== task.status) {
      Object.assign(last, { at, event: id, sure: true }); // a list told it before the event did
    }
    this.#update(entry, task);
    if (isFinal(task)) this.#forget();
  }

  #forget() {
    const ended = this.list().filter(({ task }) => isFinal(task));
    const old = [
      ...ended.filter(({ quiet }) => quiet).slice(QUESTIONS_KEPT),
      ...ended.filter(({ quiet }) => !quiet).slice(OTHERS_KEPT),
    ];
    for (const { task } of old) this.#entries.delete(task.hash_id);
  }

  #entry(task, quiet) {
    return { task, steps: [], quiet: quiet || this.#quiet.has(task.hash_id) };
  }

  #update(entry, task) {
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
