// Signing in. A token is kept in memory only: reloading the page forgets it.
import { Field } from "./components.js";
import { leaveForProvider } from "./oidc.js";
import { html, useState } from "./ui.js";

/** A form for a token; `submit` may throw, which is said. */
export function TokenForm({ submit, action }) {
  const [state, set] = useState({ busy: false, error: "" });
  const send = async (event) => {
    event.preventDefault();
    const token = new FormData(event.target).get("token").trim().replace(/^Bearer\s+/i, "");
    set({ busy: true, error: "" });
    try {
      await submit(token);
    } catch (error) {
      set({ busy: false, error: error.message });
    }
  };
  return html`<form onSubmit=${send}>
    <${Field} label="Access token" hint="A JWT of your site's identity provider. It stays in this page's memory.">
      <textarea name="token" rows="4" required autocomplete="off" spellcheck="false"></textarea>
    </${Field}>
    ${state.error && html`<p class="failure" role="alert">${state.error}</p>`}
    <button type="submit" class="primary" disabled=${state.busy}>${action}</button>
  </form>`;
}

/** Leads to the sign-in page of the site's identity provider. */
function Provider({ settings }) {
  const [error, fail] = useState("");
  const leave = () => leaveForProvider(settings).catch((problem) => fail(problem.message));
  return html`<p><button type="button" class="primary" onClick=${leave}>Sign in at ${new URL(settings.issuer).host}</button></p>
    ${error && html`<p class="failure" role="alert">${error}</p>`}
    <h2>Or with a token</h2>`;
}

export function SignIn({ settings, signIn, failed }) {
  return html`<main class="signin">
    <h1>FirecREST</h1>
    <p>Tasks, jobs and files of your clusters, as they happen.</p>
    ${failed && html`<p class="failure" role="alert">${failed}</p>`}
    ${settings.issuer && html`<${Provider} settings=${settings} />`}
    <${TokenForm} submit=${signIn} action="Sign in" />
    <footer><a href="/docs">The API</a> <span>Version ${settings.version}</span></footer>
  </main>`;
}
