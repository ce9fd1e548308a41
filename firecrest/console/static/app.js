// The page: who is signed in, which view is shown, how the connection is.
import { Dialog, Toasts } from "./components.js";
import { duration } from "./format.js";
import { redeem, takeAnswer } from "./oidc.js";
import { Router, href } from "./router.js";
import { Session } from "./session.js";
import { SignIn, TokenForm } from "./signin.js";
import { applyTheme, currentTheme, nextTheme } from "./theme.js";
import { html, render, useEffect, useRef, useState, useWatch, useNow } from "./ui.js";
import { VIEWS } from "./views/index.js";

const WARN_BEFORE = 5 * 60_000;

const STATES = {
  connecting: ["busy", "Connecting"],
  live: ["good", "Live"],
  waiting: ["bad", "Connection lost"],
  expired: ["bad", "Token expired"],
  closed: ["idle", "Closed"],
};

function Connection({ stream }) {
  useWatch(stream);
  const [kind, text] = STATES[stream.state];
  const why = stream.why && stream.why !== "offline" ? ` (${stream.why})` : "";
  return html`<span class="connection badge ${kind}" role="status" data-state=${stream.state}
    title=${`Event stream: ${text}${why}`}>${text}</span>`;
}

function Theme() {
  const [theme, set] = useState(currentTheme());
  const label = { auto: "as the system", light: "light", dark: "dark" }[theme];
  const symbol = { auto: "◐", light: "☀", dark: "☾" }[theme];
  return html`<button type="button" class="plain" aria-label=${`Colours: ${label}`} title=${`Colours: ${label}`}
    onClick=${() => set(applyTheme(nextTheme(theme)))}>${symbol}</button>`;
}

/** Said while the token is about to end, and asked for when it has. */
function Renewal({ session }) {
  const now = useNow();
  const { stream } = useWatch(session);
  useWatch(stream);
  const [asked, ask] = useState(false);
  const left = stream.expires ? stream.expires.getTime() - now : Infinity;
  if (stream.state !== "expired" && left > WARN_BEFORE) return null;
  const renew = async (token) => {
    await session.renew(token);
    ask(false);
  };
  return html`<div class="notice" role="alert">
    ${stream.state === "expired" || left < 0 ? "The token has expired." : `The token ends in ${duration(left)}.`}
    <button type="button" onClick=${() => ask(true)}>Go on with a fresh one</button>
    ${asked && html`<${Dialog} title="A fresh token" close=${() => ask(false)}>
      <${TokenForm} submit=${renew} action="Go on" />
    </${Dialog}>`}
  </div>`;
}

function Shell({ session, router, leave }) {
  useWatch(session);
  const { route } = useWatch(router);
  const view = VIEWS.find(({ name }) => name === route.view) ?? VIEWS[0];
  const main = useRef(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${view.title} – FirecREST`;
    // a screen reader is told that the page has changed; not at the very beginning
    if (!first.current) main.current.focus();
    first.current = false;
  }, [view.name]);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>To the content</a>
    <header class="top">
      <span class="brand">FirecREST</span>
      <nav aria-label="Views">${VIEWS.map(({ name, title }) => html`<a key=${name} href=${href(name)}
        aria-current=${name === view.name ? "page" : undefined}>${title}</a>`)}</nav>
      <div class="tools"><${Connection} stream=${session.stream} /><span class="user">${session.user}</span>
        <${Theme} /><button type="button" class="plain" onClick=${leave}>Sign out</button></div>
    </header>
    <${Renewal} session=${session} />
    <main id="main" tabindex="-1" ref=${main} aria-label=${view.title}>
      <${view.View} key=${view.name} session=${session} route=${{ ...route, view: view.name }} router=${router} />
    </main>
    <${Toasts} session=${session} />`;
}

function Page({ settings, router, given, answer }) {
  const [{ session, nth }, set] = useState({ session: null, nth: 0 });
  const [failed, fail] = useState("");
  const current = useRef(null);
  const enter = (opened) => {
    current.current?.close();
    current.current = opened;
    set((before) => ({ session: opened, nth: before.nth + 1 }));
  };
  const signIn = async (token, grant) => {
    const opened = new Session(token, settings, grant);
    await opened.open();
    enter(opened);
  };
  useEffect(() => {
    const begin = (work) => work().catch((error) => {
      enter(null);
      fail(error.message);
    });
    const follow = (token) => token && begin(async () => {
      // such a link can come from anybody, and would sign one in as somebody else
      if (settings.issuer) throw new Error("Links with tokens are not accepted here");
      await signIn(token);
    });
    if (answer) {
      begin(async () => {
        const grant = await redeem(settings, answer);
        await signIn(grant.token, grant);
      });
    } else {
      follow(given);
    }
    // a link that is opened where the page is already
    const followed = () => follow(tokenOfLink());
    addEventListener("hashchange", followed);
    return () => removeEventListener("hashchange", followed);
  }, []);
  if (session) {
    return html`<${Shell} key=${nth} session=${session} router=${router} leave=${() => enter(null)} />`;
  }
  return html`<div class="corner"><${Theme} /></div><${SignIn} settings=${settings} signIn=${signIn} failed=${failed} />`;
}

/** The token of a link like `/console#token=…`, which does not stay in the address. */
function tokenOfLink() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname);
  return token;
}

const answer = takeAnswer();
const given = tokenOfLink();
applyTheme();
const settings = JSON.parse(document.querySelector("meta[name=firecrest-settings]").content);
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${Page} settings=${settings} router=${new Router()} given=${given} answer=${answer} />`, root);
