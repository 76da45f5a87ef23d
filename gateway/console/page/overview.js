/** The overview: how everything is at this moment. */

import { chart } from "./chart.js";
import { createSession } from "./create.js";
import { el, fill, keyed, write } from "./dom.js";
import { icon } from "./icons.js";
import { card, empty, failed, heading, loading } from "./parts.js";
import { badge, mark, ORDER, reason, tone } from "./states.js";
import { texts } from "./texts.js";
import { every, lasted, since, within } from "./time.js";

const told = texts.overview;
const NEWS = 5;
const HEALTH = 10;
const QUIET = new Set(["ready", "stopped", "logged_out"]);
const MARKS = { healthy: ["good", "check"], degraded: ["wait", "alert"], unhealthy: ["bad", "alert"] };

export function overview(place, context) {
  const figures = el("div.figures");
  const grid = el("div.grid");
  const create = context.may("manage") ? el("button.primary", { type: "button", onclick: () => createSession(context) }, told.create) : null;
  place.append(heading(told.title, told.subtitle, create), figures, grid);
  const parts = [states(context), attention(context), traffic(context), health(context)];
  grid.append(...parts.map((part) => part.node));
  const numbers = tiles(figures);
  const trouble = el("div");
  place.append(trouble);

  const look = async () => {
    try {
      const { api, signal } = context;
      const [trends, stats, breakers] = await Promise.all([
        api.get("api/trends", signal),
        api.get("api/sessions/stats", signal),
        api.get("api/breakers", signal),
      ]);
      numbers(trends, stats, breakers, context);
      parts[2].set(trends);
      fill(trouble);
    } catch (error) {
      if (!context.signal.aborted && figures.childElementCount === 0) fill(trouble, failed(error, look));
    }
  };
  every(NEWS, look, context.signal);
}

// --- numbers ---------------------------------------------------------------------

function tiles(place) {
  const held = new Map();
  const show = (name, value, about, symbolTone) => {
    let tile = held.get(name);
    if (!tile) {
      const [number, words] = [el("p.number"), el("p.quiet.small")];
      const node = el("section.tile", {}, el("h2", name), number, words);
      held.set(name, (tile = { node, number, words }));
      place.append(node);
    }
    write(tile.number, value);
    write(tile.words, about);
    tile.node.dataset.tone = symbolTone ?? "";
  };
  return (trends, stats, breakers, { own }) => {
    const minute = (column) => column.slice(-6).reduce((sum, one) => sum + one, 0);
    const half = breakers.breakers.filter((one) => one.state === "half_open").length;
    const open = breakers.open;
    show(told.ready, texts.number(stats.readySessions), told.readyOf(stats.readySessions, stats.total));
    show(told.received, texts.number(minute(trends.received)), `${told.perMinute}, ${told.total(stats.messagesReceived)}`);
    show(told.sent, texts.number(minute(trends.sent)), `${told.perMinute}, ${told.total(stats.messagesSent)}`);
    show(told.failed, texts.number(minute(trends.failed)), `${told.perMinute}, ${told.total(stats.messagesFailed)}`, minute(trends.failed) ? "bad" : "");
    show(told.breakers, texts.number(open), open ? told.breakersOpen : half ? told.breakersHalf(half) : told.breakersClosed, open ? "bad" : half ? "wait" : "");
    show(told.lag, `${Math.round(trends.lag * 1000)} ms`, told.lagHint, trends.lag > 5 ? "wait" : "");
    if (own.admin) show(told.capacity, `${Math.round((100 * stats.total) / Math.max(1, stats.maxSessions))} %`, told.capacityOf(stats.total, stats.maxSessions), stats.total >= stats.maxSessions ? "bad" : "");
    else show(told.capacity, `${texts.number(stats.total)} / ${stats.maxSessionsPerUser}`, told.capacityOf(stats.total, stats.maxSessionsPerUser), stats.total >= stats.maxSessionsPerUser ? "wait" : "");
  };
}

// --- sessions by state -----------------------------------------------------------

function states(context) {
  const place = el("div");
  const bar = el("div.stack", { "aria-hidden": "true" });
  const list = el("ul.counts");
  const show = keyed(list, (row) => row.status, row);
  const draw = () => {
    const { store } = context;
    if (!store.loaded) return fill(place, store.error ? failed(store.error, () => store.refresh()) : loading());
    if (!store.sessions.size) {
      const create = context.may("manage") && el("button.primary", { type: "button", onclick: () => createSession(context) }, told.create);
      return fill(place, empty("sessions", told.empty, told.emptyHint, create));
    }
    if (list.parentNode !== place) fill(place, bar, list);
    const counts = new Map();
    for (const session of store.sessions.values()) counts.set(session.status, (counts.get(session.status) ?? 0) + 1);
    const rows = [...ORDER].reverse().filter((status) => counts.has(status)).map((status) => ({ status, count: counts.get(status) }));
    fill(bar, ...rows.map(piece));
    return show(rows);
  };
  context.store.watch(draw, context.signal);
  return { node: card(told.states, place) };
}

function piece({ status, count }) {
  const node = el("i", { "data-tone": tone(status) });
  node.style.setProperty("flex-grow", count);
  return node;
}

function row({ status, count }) {
  const number = el("span.number", texts.number(count));
  const node = el("li", {}, el("a", { href: `#/sessions?status=${status}` }, badge(status).node, number));
  return { node, update: (next) => write(number, texts.number(next.count)) };
}

// --- what needs a look -------------------------------------------------------------

function attention(context) {
  const list = el("ul.rows");
  const none = el("p.quiet", told.attentionNone);
  const show = keyed(list, (session) => `${session.sessionId} ${session.since}`, (session) => line(session, context.signal));
  const draw = () => {
    const found = context.store.list.filter((session) => !QUIET.has(session.status));
    found.sort((one, other) => ORDER.indexOf(one.status) - ORDER.indexOf(other.status));
    show(found.slice(0, 8));
    none.hidden = found.length > 0;
  };
  context.store.watch(draw, context.signal);
  return { node: card(told.attention, none, list) };
}

function line(session, signal) {
  const life = within(signal);
  const state = badge(session.status);
  const why = el("p.quiet.small.clip", reason(session) || texts.meaning[session.status]);
  const name = el("a.strong.clip", { href: `#/sessions/${encodeURIComponent(session.sessionId)}` }, session.sessionId);
  const node = el("li", {}, el("div.grow", {}, name, why), el("div.end", {}, state.node, el("span.quiet.small", {}, since(session.since, life.signal))));
  return {
    node,
    gone: life.end,
    update: (next) => {
      state.set(next.status);
      write(why, reason(next) || texts.meaning[next.status]);
    },
  };
}

// --- charts -------------------------------------------------------------------------

function traffic(context) {
  const count = (value) => (Number.isInteger(value) ? texts.number(value) : "");
  const messages = chart(told.traffic, [{ label: told.received, color: "--chart-1" }, { label: told.sent, color: "--chart-2", dash: [6, 4] }], count, context.signal);
  const seconds = (value) => (value >= 1 ? `${Number(value.toPrecision(2))} s` : `${Math.round(value * 1000)} ms`);
  const latency = chart(told.latency, [{ label: told.half, color: "--chart-1", points: true }, { label: told.most, color: "--chart-3", points: true, dash: [6, 4] }], seconds, context.signal);
  const [sum, times] = [el("p.quiet.small"), el("p.quiet.small")];
  const node = el("div.pair", {}, card(told.traffic, sum, messages.node), card(told.latency, times, latency.node));
  const set = (trends) => {
    const at = trends.received.map((_, index) => trends.start + index * trends.step);
    const all = [...trends.received, ...trends.sent].reduce((sum, one) => sum + one, 0);
    write(sum, all ? told.inLast(all) : told.noTraffic);
    const known = trends.latencyHalf.filter((one) => one !== null);
    write(times, known.length ? told.latencyHint : told.noLatency);
    messages.set([at, trends.received, trends.sent]);
    latency.set([at, trends.latencyHalf, trends.latencyMost]);
  };
  return { node, set };
}

// --- health -------------------------------------------------------------------------

function health(context) {
  const place = el("div", {}, loading());
  let seen = "";
  const look = async () => {
    try {
      const found = await read();
      const now = JSON.stringify([found.status, found.recommendations, Object.values(found.checks).map((check) => [check.healthy, check.message])]);
      if (now !== seen) fill(place, ...report(found));
      seen = now;
    } catch (error) {
      if (!context.signal.aborted) fill(place, failed(error, look));
      seen = "";
    }
  };
  // 503 is an answer here as well: it says what is not well.
  const read = async () => {
    const answer = await fetch("health?detailed=true", { signal: context.signal, cache: "no-store" }).catch(() => null);
    if (!answer) throw new Error(texts.errors.unreachable);
    return answer.json();
  };
  every(HEALTH, look, context.signal);
  return { node: el("div.full", {}, card(told.health, place)) };
}

function finding([name, check]) {
  const [tone, symbol] = MARKS[check.healthy ? "healthy" : "degraded"];
  const state = el("span.aside", ` ${check.healthy ? told.well : told.ill}`);
  return el("li", { "data-tone": tone }, icon(symbol), el("div", {}, el("span.strong", told.check[name] ?? name, state), el("span.quiet.small", check.message)));
}

function report(found) {
  const checks = Object.entries(found.checks);
  const mends = found.recommendations ?? [];
  return [
    el("p.verdict", {}, mark(...MARKS[found.status], told[found.status]), el("span.quiet", told.healthMeaning[found.status])),
    mends.length > 0 && el("h3", told.recommendations),
    mends.length > 0 && el("ul.losses", {}, ...mends.map((mend) => el("li", {}, el("span", mend)))),
    el("h3", told.checks),
    el("ul.checks", {}, ...checks.map(finding)),
    el("p.quiet.small", told.uptime(lasted(found.uptime))),
  ];
}
