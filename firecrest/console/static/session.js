// Everything that belongs to one signed-in user; it ends with the page.
import { Api, ApiError } from "./api.js";
import { Observable } from "./observable.js";
import { Stream } from "./stream.js";
import { Tasks } from "./tasks.js";
import { Transfers } from "./transfers.js";

const TOAST_LIFE = 8000;

/**
 * What views get: `api` (calls), `stream` (events, subscriptions), `tasks` (the user's tasks),
 * `transfers` (files on their way),
 * `systems` (names), `user`, `settings` (what the page was told), and `toast`.
 */
export class Session extends Observable {
  systems = [];
  user = "";
  toasts = [];
  #toasted = 0;

  constructor(token, settings) {
    super();
    this.settings = settings;
    this.api = new Api(token);
    this.stream = new Stream(token, () => this.#stillGood());
    this.tasks = new Tasks(this.api, this.stream, (error) => this.toast(error.message, "bad"));
    this.transfers = new Transfers(this);
  }

  /** Sign in; throws an ApiError if the token is refused. */
  async open() {
    const { out } = await this.api.get("/status/parameters");
    this.parameters = Object.values(out).flat();
    const mounted = this.parameter("FILESYSTEMS");
    this.systems = (Array.isArray(mounted) ? mounted : []).map(({ system }) => system);
    this.stream.watch(() => {
      this.user = this.stream.user;
      this.changed();
    });
    this.stream.open();
  }

  close() {
    this.transfers.close();
    this.stream.close();
  }

  /** Go on with a fresh token; throws an ApiError if it is refused. */
  async renew(token) {
    const fresh = new Api(token);
    await fresh.get("/status/parameters");
    this.api.token = token;
    this.stream.renew(token);
  }

  /** A value of `/status/parameters`. */
  parameter(name) {
    return this.parameters.find((parameter) => parameter.name === name)?.value;
  }

  /** Tell the user something in passing; `kind` is `info`, `good` or `bad`. */
  toast(text, kind = "info") {
    const id = ++this.#toasted;
    this.toasts = [...this.toasts, { id, text, kind }];
    this.changed();
    setTimeout(() => this.dismiss(id), TOAST_LIFE);
  }

  dismiss(id) {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
    this.changed();
  }

  /** Do something and tell the user why if it fails; undefined then. */
  async attempt(work) {
    try {
      return await work();
    } catch (error) {
      if (error.name !== "AbortError") this.toast(error.message, "bad");
      return undefined;
    }
  }

  async #stillGood() {
    try {
      await this.api.get("/status/parameters");
      return true;
    } catch (error) {
      return !(error instanceof ApiError && error.status === 401);
    }
  }
}
