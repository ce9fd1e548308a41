// The REST API: a token, a system, an answer or an ApiError.

/** Headers in which the API says what went wrong (rest-v1 §4.4). */
const REASONS = [
  "X-Machine-Not-Available", "X-Permission-Denied", "X-Timeout", "X-Not-Found", "X-Invalid-Path",
  "X-Exists", "X-Not-A-Directory", "X-A-Directory", "X-Invalid-Group", "X-Invalid-Owner",
  "X-Invalid-Mode", "X-Size-Limit", "X-Sbatch-Error", "X-Machine-Does-Not-Exist", "X-Error",
];

/** An answer that is no success; `message` is for people. `status` is 0 without an answer. */
export class ApiError extends Error {
  constructor(status, message, body = null) {
    super(message);
    this.status = status;
    this.body = body;
  }

  static async from(response) {
    const text = await response.text();
    let body = null;
    try {
      body = JSON.parse(text);
    } catch {
      // not every answer is JSON: proxies answer, too
    }
    const reason = REASONS.map((name) => response.headers.get(name)).find(Boolean);
    const texts = [body?.description, body?.error ?? body?.message ?? reason];
    const told = texts.filter((part) => typeof part === "string" && part);
    const message = told.length ? [...new Set(told)].join(": ") : `${response.status} ${response.statusText}`;
    return new ApiError(response.status, message, body);
  }
}

/** Calls in the name of who holds the token. */
export class Api {
  /** `refused` is called when the token is accepted no more. */
  constructor(token, refused = () => {}) {
    this.token = token;
    this.refused = refused;
  }

  /**
   * The response to a request, if it is a success.
   *
   * `query` and `form` are objects whose null and undefined members are left out; a File or Blob
   * in `form` makes it multipart. `system` is sent as X-Machine-Name.
   */
  async call(method, path, { system, query, form, headers = {}, signal } = {}) {
    const sent = { Authorization: `Bearer ${this.token}`, ...headers };
    if (system) sent["X-Machine-Name"] = system;
    let response;
    try {
      response = await fetch(path + queryString(query), {
        method, headers: sent, body: body(form), signal, credentials: "omit", redirect: "error",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "The server cannot be reached");
    }
    if (response.ok) return response;
    if (response.status === 401) this.refused();
    throw await ApiError.from(response);
  }

  /** The decoded answer. */
  async json(method, path, options) {
    const response = await this.call(method, path, options);
    return response.status === 204 ? null : response.json();
  }

  get(path, options) {
    return this.json("GET", path, options);
  }

  post(path, options) {
    return this.json("POST", path, options);
  }

  put(path, options) {
    return this.json("PUT", path, options);
  }

  delete(path, options) {
    return this.json("DELETE", path, options);
  }
}

function queryString(query) {
  const pairs = given(query);
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

function body(form) {
  if (!form) return undefined;
  const pairs = given(form);
  if (!pairs.some(([, value]) => value instanceof Blob)) return new URLSearchParams(pairs);
  const data = new FormData();
  for (const [name, value] of pairs) data.append(name, value);
  return data;
}

function given(members) {
  return Object.entries(members ?? {}).filter(([, value]) => value !== undefined && value !== null);
}
