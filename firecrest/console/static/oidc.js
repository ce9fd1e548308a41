// Signing in at an identity provider: authorization code with PKCE, as a public client.
//
// Tokens stay in memory. Only the proof of who asked is kept while the browser is away at the
// provider, in the tab's own storage, and is removed when it comes back.

const KEPT = "firecrest-signin";

/** Go to the provider's page; it leads back here. */
export async function leaveForProvider(settings) {
  if (!crypto.subtle) throw new Error("Signing in at a provider needs a page of https");
  const { authorization_endpoint: page } = await discovered(settings);
  const [verifier, state] = [random(), random()];
  sessionStorage.setItem(KEPT, JSON.stringify({ verifier, state, back: location.hash }));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const url = new URL(page);
  const asked = {
    response_type: "code", client_id: settings.clientId, redirect_uri: here(), scope: settings.scope,
    state, code_challenge: base64url(new Uint8Array(digest)), code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
  location.assign(url);
}

/** What the provider answered, if the browser comes from there; it does not stay in the address. */
export function takeAnswer() {
  const query = new URLSearchParams(location.search);
  if (!query.has("state") || !(query.has("code") || query.has("error"))) return null;
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
  sessionStorage.removeItem(KEPT);
  history.replaceState(null, "", location.pathname + (kept.back ?? ""));
  return { ...Object.fromEntries(query), kept };
}

/** The grant for an answer of the provider; throws where it is none that was asked for. */
export async function redeem(settings, answer) {
  const { kept } = answer;
  if (!kept.state || answer.state !== kept.state) throw new Error("This sign-in was not begun here");
  if (answer.iss && answer.iss !== settings.issuer) throw new Error("Another provider has answered");
  if (answer.error) throw new Error(answer.error_description ?? answer.error);
  return new Grant(settings, await tokens(settings, {
    grant_type: "authorization_code", code: answer.code, redirect_uri: here(), code_verifier: kept.verifier,
  }));
}

/** What the provider has granted; `token` is for the API. */
export class Grant {
  #settings;
  #refreshToken;

  constructor(settings, answer) {
    this.#settings = settings;
    this.#take(answer);
  }

  /** Whether a fresh token can be had without the user. */
  get renewable() {
    return Boolean(this.#refreshToken);
  }

  /** A fresh token. */
  async renewed() {
    this.#take(await tokens(this.#settings, { grant_type: "refresh_token", refresh_token: this.#refreshToken }));
    return this.token;
  }

  #take({ access_token: token, refresh_token: next }) {
    this.token = token;
    this.#refreshToken = next ?? this.#refreshToken; // providers may change it each time, or never
  }
}

async function discovered({ issuer }) {
  const response = await asked(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  const document = await response.json();
  if (document.issuer !== issuer) throw new Error("The provider says that it is another one");
  return document;
}

async function tokens(settings, fields) {
  const { token_endpoint: url } = await discovered(settings);
  const response = await asked(url, {
    method: "POST", body: new URLSearchParams({ ...fields, client_id: settings.clientId }),
  });
  return response.json();
}

async function asked(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { ...options, credentials: "omit", cache: "no-store" });
  } catch {
    throw new Error("The identity provider cannot be reached");
  }
  if (!response.ok) throw new Error(`The identity provider refuses (${response.status})`);
  return response;
}

/** Where the provider sends the browser back to. */
function here() {
  return `${location.origin}/console`;
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes) {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
