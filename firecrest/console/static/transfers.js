// Files on their way up and down; they go on while other views are shown.
import { Observable } from "./observable.js";
import { send } from "./send.js";
import { isFinal, utc } from "./tasks.js";
import { join } from "./paths.js";

const UPLOAD = "/storage/xfer-external/upload";
const DOWNLOAD = "/storage/xfer-external/download";
const INVALIDATE = "/storage/xfer-external/invalidate";
const MEBIBYTE = 1 << 20;
const SECOND = 1000;
const AT_ONCE = 4;
/** States of an upload that waits for its bytes, and those behind it. */
const WANTED = "111";
const COPY_FAILED = "115";
const BEHIND = new Set(["112", "113", "114"]);

/**
 * One entry: `{id, up, name, system, directory, size, state, done, note, error, url}`.
 *
 * `state`: `busy`; `failed` (`again` goes on where it was left); `done`; `ready` (a download that
 * waits in the store, at `url`). `note` says what is being done; `done` counts bytes.
 */
export class Transfers extends Observable {
  #session;
  #entries = [];
  #count = 0;

  constructor(session) {
    super();
    this.#session = session;
  }

  /** The newest first. */
  list() {
    return this.#entries;
  }

  get busy() {
    return this.#entries.some(({ state }) => state === "busy");
  }

  /** Bytes up to which a file goes through the gateway itself. */
  get direct() {
    return Number(this.#session.parameter("UTILITIES_MAX_FILE_SIZE")) * MEBIBYTE;
  }

  /** Send a file; an upload of the same file that was cut goes on. */
  upload(system, directory, file) {
    const known = this.#entries.find((entry) => entry.up && entry.system === system &&
      entry.directory === directory && same(entry.file, file) && entry.state !== "done");
    if (known) {
      if (known.state === "failed") this.again(known);
      return;
    }
    this.#add({ up: true, name: file.name, system, directory, size: file.size, file });
  }

  /** Fetch a file of so many bytes. */
  download(system, path, size) {
    this.#add({ up: false, name: path.split("/").at(-1), system, path, size });
  }

  again(entry) {
    this.#run(entry);
  }

  /** Stop it and forget what the store has of it. */
  cancel(entry) {
    entry.controller.abort();
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.changed();
    if (!entry.task || entry.state === "done") return;
    const headers = { "X-Task-Id": entry.task };
    this.#session.attempt(() => this.#session.api.post(INVALIDATE, { headers }));
  }

  /** Take what has ended out of the list. */
  dismiss(entry) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.changed();
  }

  close() {
    for (const { controller } of this.#entries) controller.abort();
    this.#entries = [];
  }

  #add(members) {
    const entry = { id: ++this.#count, ...members };
    this.#entries = [entry, ...this.#entries];
    this.#run(entry);
  }

  async #run(entry) {
    entry.controller = new AbortController();
    this.#change(entry, { state: "busy", error: "", note: "waiting", done: 0 });
    try {
      await (entry.up ? this.#up(entry) : this.#down(entry));
    } catch (error) {
      if (!entry.controller.signal.aborted) this.#change(entry, { state: "failed", error: error.message });
    }
  }

  async #up(entry) {
    const { system, directory, file } = entry;
    if (file.size <= this.direct) {
      this.#change(entry, { note: "sending" });
      const form = { targetPath: directory || ".", file };
      await this.#session.api.post("/utilities/upload", { system, form, ...options(entry) });
    } else {
      await this.#throughStore(entry);
    }
    this.#change(entry, { state: "done", done: file.size, note: "" });
  }

  async #throughStore(entry) {
    const { system, directory, file } = entry;
    entry.task ??= await this.#left(entry);
    const headers = () => ({ "X-Task-Id": entry.task });
    // a task that has ended cannot be gone on with, but one whose copy failed still has the bytes
    if (entry.task && !(await this.#copiedAgain(entry, headers()))) entry.task = undefined;
    if (!entry.task) {
      const form = { sourcePath: file.name, targetPath: directory || ".", fileSize: file.size };
      entry.task = (await this.#session.api.post(UPLOAD, { system, form, ...options(entry) })).task_id;
    }
    const { status, data } = await this.#reached(entry, (task) => task.status === WANTED || BEHIND.has(task.status));
    if (status === WANTED) {
      this.#change(entry, { note: "sending" });
      if (data.msg.parts) await this.#parts(entry, headers());
      else await this.#whole(entry, data.msg.parameters);
      await this.#session.api.put(UPLOAD, { ...options(entry), headers: headers() });
    }
    this.#change(entry, { note: `copying to ${system}`, done: 0 });
    await this.#reached(entry, (task) => task.status === "114");
  }

  /** Whether the entry's task goes on, if need be by copying what has come to the store. */
  async #copiedAgain(entry, headers) {
    const { tasks, api } = this.#session;
    const status = () => tasks.get(entry.task)?.task.status;
    if (status() !== COPY_FAILED) return !isEnded(tasks.get(entry.task)?.task);
    try {
      await api.put(UPLOAD, { ...options(entry), headers });
    } catch (error) {
      if (error.status === 400) return false; // it is not in the store any more
      throw error;
    }
    await until(tasks, () => status() !== COPY_FAILED, entry.controller.signal);
    return true;
  }

  /** By the form; it begins anew after a cut. */
  #whole(entry, { method, url, data }) {
    const body = new FormData();
    for (const [name, value] of Object.entries(data)) body.append(name, value);
    body.append("file", entry.file);
    const progress = (sent) => this.#change(entry, { done: Math.min(sent, entry.size) });
    return send(method, url, body, { ...options(entry), progress });
  }

  /** What is missing, as long as something arrives; then the gateway knows it all. */
  async #parts(entry, headers) {
    for (;;) {
      const told = await this.#session.api.get(`${UPLOAD}/parts`, { ...options(entry), headers });
      if (!told.parts.length) return;
      const before = Math.max(0, entry.size - told.parts_missing * told.part_size);
      const { arrived, failure } = await this.#round(entry, told.parts, before);
      if (failure && !arrived) throw failure;
    }
  }

  /** Send these, several at a time; what is on its way goes on when another one fails. */
  async #round(entry, parts, before) {
    const sent = new Map();
    const waiting = [...parts];
    let arrived = 0;
    let failure;
    const work = async () => {
      for (let part = waiting.shift(); part; part = waiting.shift()) {
        const { number, offset, size, url } = part;
        const progress = (bytes) => {
          sent.set(number, bytes);
          this.#change(entry, { done: Math.min(entry.size, [...sent.values()].reduce((a, b) => a + b, before)) });
        };
        try {
          await send("PUT", url, entry.file.slice(offset, offset + size), { ...options(entry), progress });
          arrived += 1;
        } catch (error) {
          failure ??= error;
          waiting.length = 0;
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return { arrived, failure };
  }

  async #down(entry) {
    const { system, path, name, size } = entry;
    if (size <= this.direct) {
      this.#change(entry, { note: "fetching" });
      const answer = await this.#session.api.call("GET", "/utilities/download", {
        system, query: { sourcePath: path }, ...options(entry),
      });
      save(await answer.blob(), name);
      this.#change(entry, { state: "done", done: size, note: "" });
      return;
    }
    this.#change(entry, { note: `copying from ${system}` });
    const form = { sourcePath: path };
    entry.task = (await this.#session.api.post(DOWNLOAD, { system, form, ...options(entry) })).task_id;
    const { data } = await this.#reached(entry, (task) => task.status === "117");
    this.#change(entry, { state: "ready", done: size, note: "", url: data.url });
  }

  /** The entry's task once it is so; its progress until then. */
  #reached(entry, accept) {
    const { tasks } = this.#session;
    return until(tasks, () => {
      const task = tasks.get(entry.task)?.task;
      if (!task) return undefined;
      if (accept(task)) return task;
      if (isFinal(task)) throw new Error(words(task));
      const done = task.status !== WANTED && task.data?.progress?.bytes_done;
      if (done && done !== entry.done) this.#change(entry, { done });
      return undefined;
    }, entry.controller.signal);
  }

  /** The task of an upload of this file that was left alone, as after the page was loaded anew. */
  async #left({ system, directory, file, controller }) {
    const { tasks } = this.#session;
    await until(tasks, () => tasks.loaded, controller.signal);
    const target = join(directory, file.name);
    const modified = SECOND * Math.floor(file.lastModified / SECOND); // as the times of tasks
    const taken = new Set(this.#entries.map(({ task }) => task));
    const found = tasks.list().find(({ task: { hash_id: id, status, data, created_at: created } }) =>
      status === WANTED && data.system_name === system && data.target_path === target && data.msg.parts &&
      data.msg.size === file.size && modified <= utc(created) && !taken.has(id)); // else it may be another by now
    return found?.task.hash_id;
  }

  #change(entry, members) {
    Object.assign(entry, members);
    this.changed();
  }
}

const options = (entry) => ({ signal: entry.controller.signal });
const same = (one, other) => one.name === other.name && one.size === other.size && one.lastModified === other.lastModified;
const isEnded = (task) => !task || (isFinal(task) && task.status !== "114");
const words = ({ data, description }) =>
  (typeof data === "string" ? data : data?.error ?? (typeof data?.msg === "string" ? data.msg : description));

/** What `look` gives, once that is something; it looks again whenever the observable changes. */
function until(observable, look, signal) {
  return new Promise((resolve, reject) => {
    let stop = () => {};
    const end = (settle, value) => {
      stop();
      settle(value);
    };
    const again = () => {
      try {
        const found = look();
        if (found) end(resolve, found);
      } catch (error) {
        end(reject, error);
      }
    };
    stop = observable.watch(again);
    signal.addEventListener("abort", () => end(reject, signal.reason), { once: true });
    again();
  });
}

/** Have the browser keep some bytes as a file. */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
