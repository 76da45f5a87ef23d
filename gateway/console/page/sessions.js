/** The list of sessions, with search and filters; one of them alone is another view. */

import { act, fitting } from "./actions.js";
import { createSession } from "./create.js";
import { el, fill, keyed, write } from "./dom.js";
import { icon } from "./icons.js";
import { empty, failed, field, grow, heading, loading, menu } from "./parts.js";
import { session } from "./session.js";
import { badge, ORDER, reason } from "./states.js";
import { texts } from "./texts.js";
import { since, within } from "./time.js";

const told = texts.sessions;

export function sessions(place, context, named) {
  if (named && !named.startsWith("?")) return session(place, context, named);
  return list(place, context, named);
}

function list(place, context, query) {
  const asked = new URLSearchParams(query ?? "");
  const search = el("input", { type: "search", placeholder: told.searchHint, autocomplete: "off", oninput: draw });
  const state = el("select", { onchange: draw });
  const user = el("select", { onchange: draw });
  const count = el("p.quiet", { role: "status" });
  const body = el("div");
  const rows = el("ul.list");
  const show = keyed(rows, (one) => one.sessionId, (one) => row(one, context));
  const create = context.may("manage") && el("button.primary", { type: "button", onclick: () => createSession(context) }, icon("plus"), told.create);
  const users = context.own.admin && field(told.user, user);
  fill(state, option("", told.everyState), ...ORDER.map((status) => option(status, texts.states[status])));
  state.value = asked.get("status") ?? "";
  place.append(
    heading(told.title, null, create),
    el("div.filters", {}, grow(field(told.search, search)), field(told.state, state), users),
    count,
    body,
  );

  function draw() {
    const { store } = context;
    if (!store.loaded) return fill(body, store.error ? failed(store.error, () => store.refresh()) : loading());
    offer(user, store.list);
    const all = store.list;
    const found = all.filter((session) => (!state.value || session.status === state.value) && (!user.value || session.userId === user.value) && matches(session, search.value));
    write(count, all.length ? told.count(found.length, all.length) : "");
    if (!all.length) return fill(body, empty("sessions", told.empty, told.emptyHint, create && el("button.primary", { type: "button", onclick: () => createSession(context) }, told.create)));
    if (!found.length) return fill(body, empty("search", told.nothing, told.nothingHint, el("button", { type: "button", onclick: clear }, told.clear)));
    show(found);
    if (rows.parentNode !== body) fill(body, rows);
    return rows;
  }

  function clear() {
    search.value = state.value = user.value = "";
    draw();
  }

  context.store.watch(draw, context.signal);
}

function option(value, text) {
  return el("option", { value }, text);
}

function offer(select, all) {
  const users = [...new Set(all.map((session) => session.userId))].sort();
  const now = users.join();
  if (select.dataset.users === now) return;
  const chosen = select.value;
  fill(select, option("", told.everyUser), ...users.map((user) => option(user, user)));
  select.value = users.includes(chosen) ? chosen : "";
  select.dataset.users = now;
}

function matches(session, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return true;
  return [session.sessionId, session.userId, session.phoneNumber, session.pushName].some((held) => held?.toLowerCase().includes(wanted));
}

function row(session, context) {
  let now = session;
  const state = badge(session.status);
  const why = el("p.quiet.small.clip");
  const phone = el("span.clip");
  const name = el("bdi.quiet.small.clip");
  const numbers = el("span.quiet.small");
  const at = el("span.quiet.small");
  const offers = () => fitting(now).map((what) => [texts.act[what], () => act(context, now.sessionId, what), what === "delete" || what === "logout" ? "danger" : ""]);
  const open = el("a.strong.clip", { href: `#/sessions/${encodeURIComponent(session.sessionId)}` }, session.sessionId);
  const next = el("button.next", { type: "button" });
  let offered = null;
  next.addEventListener("click", () => act(context, now.sessionId, offered));
  const node = el(
    "li.session",
    {},
    el("div.who", {}, open, why),
    el("div.state", {}, state.node, at),
    el("div.phone", {}, phone, name),
    numbers,
    el("div.actions", {}, context.may("manage") && next, context.may("manage") && menu(told.menu(session.sessionId), offers)),
  );
  let shownSince = "";
  let life = within(context.signal);
  let looks = "";
  const update = (fresh) => {
    now = fresh;
    const { status, reason: word, error, phoneNumber, pushName, isAuthenticated, breaker, metrics } = fresh;
    const shown = [status, word, error, phoneNumber, pushName, isAuthenticated, breaker, fresh.since, metrics.messagesReceived, metrics.messagesSent].join("\n");
    if (shown === looks) return;
    looks = shown;
    state.set(fresh.status);
    write(why, reason(fresh) || texts.meaning[fresh.status]);
    write(phone, fresh.phoneNumber ? `+${fresh.phoneNumber}` : told.noPhone);
    write(name, fresh.pushName ?? "");
    write(numbers, told.inOut(fresh.metrics.messagesReceived, fresh.metrics.messagesSent));
    if (shownSince !== fresh.since) {
      shownSince = fresh.since;
      life.end();
      life = within(context.signal);
      fill(at, since(fresh.since, life.signal));
    }
    // One button for what is most likely wanted; a session that is well needs none.
    const first = fitting(fresh)[0];
    offered = ["link", "start", "reset"].includes(first) ? first : null;
    next.hidden = offered === null;
    write(next, offered ? texts.act[offered] : "");
  };
  update(session);
  return { node, update, gone: () => life.end() };
}
