// The event stream: one websocket that comes back by itself and goes on after the last event.
import { Observable } from "./observable.js";

const PROTOCOL = "firecrest.events.v1";
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
const ANSWER_WITHIN = 10_000; // or a heartbeat, if that is less
/** Codes of ours with which the server closes (events §2). */
const TOKEN_EXPIRED = 4401;
const TOO_MANY = 4429;

/**
 * Whoever watches it sees `state`: `connecting`, `live`, `waiting` (it tries again by itself; `why`
 * says what happened), `expired` (it needs a fresh token) or `closed`.
 */
export class Stream extends Observable {
  state = "connecting";
  why = "";
  user = "";
  expires = null;
  resumed = 0;

  #socket = null;
  #token;
  #lastId = null;
  #pause = FIRST_PAUSE;
  #timer = null;
  #beat = null;
  #overdue = null;
  #patience = ANSWER_WITHIN;
  #refs = 0;
  #subscriptions = new Map();
  #listeners = new Set();
  #check;

  /** `check` is asked, after a connection that never was, whether the token is still good. */
  constructor(token, check) {
    super();
    this.#token = token;
    this.#check = check;
    addEventListener("online", this.#online);
    addEventListener("offline", this.#offline);
  }

  open() {
    this.#connect();
  }

  close() {
    removeEventListener("online", this.#online);
    removeEventListener("offline", this.#offline);
    this.#drop();
    this.#set("closed");
  }

  /** Go on with a fresh token of the same user, without a break where there is a connection. */
  renew(token) {
    this.#token = token;
    if (this.state === "live") this.#alive();
    else this.#connect();
  }

  /** Hear every message (events §2); returns how to stop. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Keep a subscription (events §3) over all connections; returns how to end it.
   *
   * `describe` gives its keys each time it is made, so it can say where to go on. `refused` is
   * called with the text when the server says no.
   */
  subscribe(describe, refused = () => {}) {
    const ref = `s${++this.#refs}`;
    this.#subscriptions.set(ref, { describe, refused });
    if (this.state === "live") this.#send({ action: "subscribe", ref, ...describe() });
    return () => {
      if (this.#subscriptions.delete(ref) && this.state === "live") {
        this.#send({ action: "unsubscribe", ref });
      }
    };
  }

  #connect() {
    this.#drop();
    this.#set("connecting", this.why);
    const url = new URL("/events", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("tasks", "*");
    if (this.#lastId) url.searchParams.set("last_event_id", this.#lastId);
    const socket = new WebSocket(url, [PROTOCOL, `bearer.${this.#token}`]);
    this.#socket = socket;
    let greeted = false;
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      greeted = true;
      this.#take(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#closed(code, reason, greeted);
    };
  }

  #take(message) {
    clearTimeout(this.#overdue);
    this.#overdue = null;
    if (message.event === "hello") this.#greeted(message);
    if (message.event === "token") this.expires = new Date(message.expires);
    if (message.event === "error" && this.#subscriptions.has(message.ref)) {
      const { refused } = this.#subscriptions.get(message.ref);
      this.#subscriptions.delete(message.ref);
      refused(message.error);
    }
    if (message.id && order(message.id, this.#lastId) > 0) this.#lastId = message.id;
    for (const listener of [...this.#listeners]) listener(message);
    this.changed();
  }

  #greeted(hello) {
    if (this.#lastId) this.resumed += 1;
    else this.#lastId = hello.last_event_id;
    this.#pause = FIRST_PAUSE;
    this.user = hello.user;
    this.expires = new Date(hello.expires);
    this.#set("live");
    for (const [ref, { describe }] of this.#subscriptions) {
      this.#send({ action: "subscribe", ref, ...describe() });
    }
    // pages do not see the server's pings, so they ask for a sign of life themselves
    this.#patience = Math.min(ANSWER_WITHIN, hello.heartbeat * 1000);
    this.#beat = setInterval(() => this.#alive(), hello.heartbeat * 1000);
  }

  #alive() {
    this.#send({ action: "token", ref: "token", token: this.#token });
    this.#overdue ??= setTimeout(() => this.#again("no answer"), this.#patience);
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  async #closed(code, reason, greeted) {
    this.#drop();
    if (code === TOO_MANY) this.#pause = LONGEST_PAUSE;
    // a page is not told with which answer a handshake was refused
    const good = code !== TOKEN_EXPIRED && (greeted || (await this.#check()));
    if (this.state === "closed" || this.#socket) return; // meanwhile
    if (good) this.#again(reason || "connection lost");
    else this.#set("expired");
  }

  #again(why) {
    this.#drop();
    this.#set("waiting", why);
    // not all pages at once when a server comes back
    this.#timer = setTimeout(() => this.#connect(), this.#pause * (0.5 + Math.random()));
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
  }

  #online = () => {
    if (this.state === "waiting") this.#connect();
  };

  #offline = () => {
    if (this.state === "live" || this.state === "connecting") {
      this.#pause = FIRST_PAUSE;
      this.#again("offline");
    }
  };

  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#overdue);
    clearInterval(this.#beat);
    this.#overdue = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #set(state, why = "") {
    this.state = state;
    this.why = why;
    this.changed();
  }
}

/** Compare event ids, which are two numbers with a dash between; below 0: a is older. */
function order(a, b) {
  if (!b) return 1;
  const [first, second] = [a, b].map((id) => id.split("-").map(BigInt));
  for (const i of [0, 1]) {
    if (first[i] !== second[i]) return first[i] < second[i] ? -1 : 1;
  }
  return 0;
}
