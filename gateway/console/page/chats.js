/** Chats of a session: the list on one side, a conversation on the other. */

import { path } from "./api.js";
import { conversation } from "./conversation.js";
import { dialog } from "./dialog.js";
import { el, fill, keyed, write } from "./dom.js";
import { icon } from "./icons.js";
import { busy, empty, failed, field, heading, loading } from "./parts.js";
import { texts } from "./texts.js";
import { number } from "./people.js";
import { hour, within } from "./time.js";
import { sentence } from "./toast.js";

const told = texts.chats;
const PAUSE = 400;

export function chats(place, context, id, chat) {
  const { store, signal } = context;
  const select = el("select", { onchange: () => (location.hash = `#/chats/${encodeURIComponent(select.value)}`) });
  const compose = context.may("send") && el("button", { type: "button", hidden: true, onclick: () => writeTo(context, id) }, icon("plus"), told.compose);
  const body = el("div");
  place.append(heading(told.title, null, field(told.session, select), compose), body);
  let shown = "";
  let life = within(signal);
  const draw = () => {
    if (!store.loaded) return fill(body, store.error ? failed(store.error, () => store.refresh()) : loading());
    const ready = store.list.filter((one) => one.isReady || one.sessionId === id);
    offer(select, ready, id);
    const held = store.sessions.get(id);
    if (!id && ready.length) return location.replace(`#/chats/${encodeURIComponent(ready[0].sessionId)}`);
    const state = id ? (held?.isReady ? "ready" : (held?.status ?? "not_found")) : "none";
    if (state === shown) return null;
    shown = state;
    life.end();
    life = within(signal);
    if (compose) compose.hidden = state !== "ready";
    if (state === "none") return fill(body, empty("chats", told.none, told.noneHint, el("a.button.primary", { href: "#/sessions" }, told.toSessions)));
    if (state !== "ready") {
      const why = el("a.button.primary", { href: `#/sessions/${encodeURIComponent(id)}` }, told.toSession);
      return fill(body, empty("chats", told.notReady(id, texts.states[state] ?? state), told.notReadyHint, why));
    }
    return fill(body, both({ ...context, signal: life.signal }, id, chat));
  };
  store.watch(draw, signal);
}

function offer(select, sessions, id) {
  const now = sessions.map((one) => one.sessionId).join();
  if (select.dataset.offered !== now) {
    select.dataset.offered = now;
    fill(select, ...sessions.map((one) => el("option", { value: one.sessionId }, one.sessionId)));
    if (!sessions.length) fill(select, el("option", { value: "" }, told.none));
  }
  select.value = id ?? "";
}

function both(context, id, chat) {
  const right = el("section.conversation", { "aria-label": told.messages });
  const list = listing(context, id, chat, (count) => talk?.unread(count));
  const talk = chat ? conversation(right, context, id, chat, list.look) : null;
  if (!talk) right.append(empty("chats", told.choose, told.chooseHint));
  return el("div.chats", { "data-open": chat ? "chat" : "list" }, list.node, right);
}

function listing(context, id, chat, unread) {
  const { api, feed, signal } = context;
  const search = el("input", { type: "search", autocomplete: "off", "aria-label": told.search, placeholder: told.search, oninput: () => draw() });
  const place = el("div.scroll", { tabindex: "0", role: "group", "aria-label": told.title }, loading());
  const list = el("ul");
  const show = keyed(list, (one) => one.id, (one) => row(one, id, chat));
  let all = null;
  let timer = 0;
  const draw = () => {
    if (!all) return;
    const wanted = search.value.trim().toLowerCase();
    const found = wanted ? all.filter((one) => `${one.name ?? ""} ${one.id}`.toLowerCase().includes(wanted)) : all;
    show(found);
    if (!all.length) fill(place, empty("chats", told.empty, told.emptyHint));
    else if (!found.length) fill(place, empty("search", told.nothing));
    else if (list.parentNode !== place) fill(place, list);
  };
  const look = async () => {
    timer = 0;
    try {
      all = (await api.get(path`api/sessions/${id}/chats`, signal)).chats;
      unread(all.find((one) => one.id === chat)?.unreadCount ?? 0);
      draw();
    } catch (error) {
      if (!signal.aborted && !all) fill(place, failed(error, look));
    }
  };
  feed.on(
    "frame",
    (frame) => {
      if (frame.session === id && frame.event.startsWith("message-") && !timer) timer = setTimeout(look, PAUSE);
    },
    signal,
  );
  signal.addEventListener("abort", () => clearTimeout(timer));
  look();
  return { node: el("section.chatlist", { "aria-label": told.title }, el("div.find", {}, search), place), look };
}

function row(first, id, open) {
  const [name, at, unread] = [el("bdi.strong.clip"), el("span.quiet.small"), el("span.unread")];
  const link = el(
    "a.chat",
    { href: `#/chats/${encodeURIComponent(id)}/${encodeURIComponent(first.id)}`, "aria-current": first.id === open ? "true" : null },
    el("i.face", { "aria-hidden": "true" }, letter(first)),
    el("div.grow", {}, el("div.line", {}, name, at), el("div.line", {}, el("span.quiet.small.clip", first.isGroup ? told.group : number(first.id)), unread)),
  );
  const update = (one) => {
    write(name, one.name ?? number(one.id));
    write(at, one.timestamp ? hour(one.timestamp) : "");
    unread.hidden = !one.unreadCount;
    if (unread.textContent !== String(one.unreadCount)) {
      fill(unread, texts.number(one.unreadCount), el("span.aside", ` ${told.unread(one.unreadCount)}`));
    }
  };
  update(first);
  return { node: el("li", {}, link), update };
}

function letter(chat) {
  const [first] = (chat.name ?? "").trim();
  return first ?? "#";
}

function writeTo(context, id) {
  return dialog(told.compose, (signal, close) => {
    const input = el("input", { type: "tel", autocomplete: "off", required: true });
    const said = el("p.said", { role: "alert" });
    const submit = el("button.primary", { type: "submit" }, told.start);
    const submitted = (event) => {
      event.preventDefault();
      return busy(submit, async () => {
        try {
          const found = await context.api.get(path`api/sessions/${id}/numbers/${input.value.trim()}`, signal);
          if (!found.exists) return fill(said, icon("alert"), el("span", told.notOnWhatsApp(input.value)));
          close();
          location.hash = `#/chats/${encodeURIComponent(id)}/${encodeURIComponent(found.id)}`;
        } catch (error) {
          if (!signal.aborted) fill(said, icon("alert"), el("span", sentence(error)));
        }
        return null;
      });
    };
    return el(
      "form",
      { onsubmit: submitted },
      field(told.number, input, told.numberHint),
      said,
      el("footer", {}, el("button", { type: "button", onclick: () => close() }, texts.common.cancel), submit),
    );
  });
}
