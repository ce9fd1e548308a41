// Everything that belongs to one signed-in user; it ends with the page.
import { Api, ApiError } from "./api.js";
import { Observable } from "./observable.js";
import { Stream } from "./stream.js";
import { Tasks } from "./tasks.js";
import { Transfers } from "./transfers.js";

const TOAST_LIFE = 8000;
/** How long before its end a token is renewed, at the earliest halfway. */
const RENEW_BEFORE = 60_000;
const RETRY_AFTER = 5000;
const LONGEST_TIMER = 86_400_000;

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

  #grant = null;
  #renewal = null;
  #renewing = null;

  /** `grant` is what renews the token by itself, if anything does. */
  constructor(token, settings, grant = null) {
    super();
    this.settings = settings;
    this.#grant = grant?.renewable ? grant : null;
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
      if (this.#grant) this.#keepRenewed();
      this.changed();
    });
    this.stream.open();
  }

  close() {
    this.transfers.close();
    this.#grant = null;
    clearTimeout(this.#renewal);
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

  /** Have a fresh token before the one there is ends, or at once if it has. */
  #keepRenewed() {
    const { state, expires } = this.stream;
    if (state === "expired") this.#renewIn(0, "expired");
    if (state === "live") {
      const left = expires.getTime() - Date.now();
      this.#renewIn(Math.max(left / 2, left - RENEW_BEFORE), String(expires));
    }
  }

  /** `reason`: for the same one there is one timer. */
  #renewIn(delay, reason) {
    if (reason === this.#renewing) return;
    this.#renewing = reason;
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(async () => {
      const done = await this.attempt(async () => {
        await this.renew(await this.#grant.renewed());
        return true;
      });
      this.#renewing = null;
      if (!done && this.#grant) this.#renewIn(RETRY_AFTER, "again");
    }, Math.min(delay, LONGEST_TIMER));
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
