/** One session: where it stands since when and why, what its browser takes, what can be done. */

import { act, fitting } from "./actions.js";
import { breakers } from "./session-breakers.js";
import { screenshot } from "./screenshot.js";
import { el, fill, write } from "./dom.js";
import { icon } from "./icons.js";
import { card, empty, facts, failed, loading } from "./parts.js";
import { badge, reason } from "./states.js";
import { texts } from "./texts.js";
import { clock, eachSecond, lasted, since, until, within } from "./time.js";
import { timeline } from "./timeline.js";
import { usage } from "./usage.js";

const told = texts.session;

export function session(place, context, id) {
  const { store, signal } = context;
  const body = el("div.stackable");
  const back = el("a.back", { href: "#/sessions" }, icon("back"), told.back);
  place.append(back, el("header.heading", {}, el("h1", { tabindex: "-1" }, el("bdi", id))), body);
  document.title = `${id} · ${texts.product}`;
  let shown = null;
  const draw = () => {
    const held = store.sessions.get(id);
    if (!store.loaded && !held) return fill(body, store.error ? failed(store.error, () => store.refresh()) : loading());
    if (!held) {
      shown = null;
      return fill(body, empty("search", told.missing(id), told.missingHint, el("a.button", { href: "#/sessions" }, told.back)));
    }
    if (!shown) {
      shown = page(context, held);
      fill(body, shown.node);
    }
    return shown.update(held);
  };
  store.touch(id);
  store.watch(draw, signal);
}

function page(context, first) {
  const id = first.sessionId;
  const top = standing(context);
  const about = numbers(context);
  const breaker = breakers(context, id);
  const parts = [top, about, breaker];
  const node = el(
    "div.grid",
    {},
    el("div.full", {}, top.node),
    about.node,
    breaker.node,
    timeline(context, id),
    usage(context, id),
    context.may("manage") && screenshot(context, id),
  );
  return { node, update: (held) => parts.forEach((part) => part.update(held)) };
}

// --- where it stands ------------------------------------------------------------------

function standing(context) {
  const state = badge("not_found");
  const meaning = el("p");
  const [at, why, next] = [el("dd"), el("dd"), el("span.countdown", { role: "timer" })];
  const nextLine = el("div", {}, el("dt", told.next), el("dd", next));
  const whyLine = el("div", {}, el("dt", told.why), why);
  const buttons = el("div.actions");
  const node = el(
    "section.card.standing",
    {},
    el("div.verdict", {}, state.node, meaning),
    el("dl.facts", {}, el("div", {}, el("dt", told.since), at), whyLine, nextLine),
    buttons,
  );
  let life = within(context.signal);
  let shown = "";
  let now = null;
  eachSecond(() => {
    if (!now?.nextAttempt) return;
    const seconds = until(now.nextAttempt);
    write(next, now.status === "suspended" ? told.probeIn(seconds) : told.nextIn(seconds, now.attempt));
  }, context.signal);
  const update = (held) => {
    now = held;
    state.set(held.status);
    write(meaning, texts.meaning[held.status]);
    write(why, reason(held));
    whyLine.hidden = !reason(held);
    nextLine.hidden = !held.nextAttempt;
    const looks = `${held.since} ${held.status} ${held.isAuthenticated} ${held.breaker}`;
    if (looks === shown) return;
    shown = looks;
    life.end();
    life = within(context.signal);
    fill(at, `${clock(held.since)}, `, since(held.since, life.signal));
    if (context.may("manage")) offer(context, buttons, held);
  };
  return { node, update };
}

function offer(context, place, held) {
  const id = held.sessionId;
  const style = (name, index) => (name === "delete" || name === "logout" ? "button.danger" : index === 0 && ["link", "start", "reset"].includes(name) ? "button.primary" : "button");
  const made = fitting(held).map((name, index) => el(style(name, index), { type: "button", onclick: () => act(context, id, name) }, texts.act[name]));
  const chats = held.isReady && context.may("read") && el("a.button", { href: `#/chats/${encodeURIComponent(id)}` }, icon("chats"), told.chats);
  fill(place, chats, ...made);
}

// --- facts ------------------------------------------------------------------------------

function numbers(context) {
  const place = el("div");
  let life = within(context.signal);
  let shown = "";
  const update = (held) => {
    const now = JSON.stringify(held);
    if (now === shown) return;
    shown = now;
    life.end();
    life = within(context.signal);
    const { metrics } = held;
    fill(
      place,
      facts([
        [told.phone, held.phoneNumber ? `+${held.phoneNumber}` : texts.sessions.noPhone],
        held.pushName && [told.name, el("bdi", held.pushName)],
        [told.user, held.userId],
        [told.bot, held.plubotId],
        [told.received, texts.number(metrics.messagesReceived)],
        [told.sent, texts.number(metrics.messagesSent)],
        [told.failed, texts.number(metrics.messagesFailed)],
        [told.reconnections, texts.number(metrics.reconnections)],
        metrics.uptime > 0 && [told.uptime, lasted(metrics.uptime)],
        [told.activity, since(held.lastActivity, life.signal)],
        [told.created, clock(held.createdAt)],
        held.node && [told.node, held.node],
      ]),
    );
  };
  return { node: card(told.facts, place), update };
}

