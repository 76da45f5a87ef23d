/** The start: who is logged in, and which view the address names. */

import { Api } from "./api.js";
import { chats } from "./chats.js";
import { el, fill } from "./dom.js";
import { events } from "./events.js";
import { Feed } from "./feed.js";
import { keys } from "./keys.js";
import { login } from "./login.js";
import { overview } from "./overview.js";
import { heading } from "./parts.js";
import { sessions } from "./sessions.js";
import { shell } from "./shell.js";
import { Store } from "./store.js";
import { texts } from "./texts.js";
import { show } from "./theme.js";
import { webhooks } from "./webhooks.js";

const KEY = "wa-key";

/** Each view draws itself into a place, with the parts of the address behind its name. */
const VIEWS = { overview, sessions, chats, events, webhooks, keys };

const root = el("div.root");
let leave = () => {};

function start(key, own) {
  sessionStorage.setItem(KEY, key);
  const ended = new AbortController();
  const api = new Api(key, (why) => leave(why));
  const feed = new Feed(api);
  const store = new Store(api, feed);
  const context = { api, feed, store, own, signal: ended.signal, may: (scope) => own.scopes.includes(scope) };
  leave = (why) => {
    leave = () => {};
    ended.abort();
    feed.close();
    store.close();
    dismiss();
    sessionStorage.removeItem(KEY);
    login(root, start, why);
  };
  const { main, mark } = shell(root, context, leave);
  let view = new AbortController();
  let section = null;
  const route = () => {
    view.abort();
    view = new AbortController();
    dismiss();
    const [name, ...rest] = parts();
    mark(name);
    document.title = `${texts.nav[name] ?? texts.common.missing} · ${texts.product}`;
    const draw = VIEWS[name] ?? missing;
    draw(fill(main), { ...context, signal: view.signal }, ...rest);
    scrollTo(0, 0);
    // Who moves by keyboard goes on from the new view's title; at the start, from the top.
    if (section !== null) (main.querySelector("[data-start]") ?? main.querySelector("h1") ?? main).focus({ preventScroll: true });
    section = name;
  };
  addEventListener("hashchange", route, { signal: ended.signal });
  ended.signal.addEventListener("abort", () => view.abort());
  route();
}

/** The names in the address; what follows a question mark is the last of them. */
function parts() {
  const [named, query] = location.hash.replace(/^#\/?/, "").split("?");
  const names = named.split("/").filter(Boolean).map(plain);
  if (!names.length) names.push("overview");
  return query ? [...names, `?${query}`] : names;
}

function dismiss() {
  for (const open of document.querySelectorAll("dialog[open]")) open.close();
}

function plain(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function missing(place) {
  place.append(heading(texts.common.missing, texts.common.missingHint), el("a.button", { href: "#/overview" }, texts.common.toOverview));
}

async function begin() {
  show();
  document.body.replaceChildren(root);
  const key = sessionStorage.getItem(KEY);
  if (!key) return login(root, start);
  try {
    return start(key, await new Api(key, () => {}).get("api/keys/own"));
  } catch (error) {
    return login(root, start, error.message);
  }
}

begin();
