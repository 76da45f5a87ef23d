/** One webhook: which sessions it does not take, its last deliveries, its dead letters. */

import { confirm } from "./dialog.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { button, card, empty, facts, failed, loading } from "./parts.js";
import { mark } from "./states.js";
import { texts } from "./texts.js";
import { clock, every } from "./time.js";
import { complain, say } from "./toast.js";
import { about, edit, names, verdict } from "./webhooks.js";

const told = texts.webhooks;
const NEWS = 4;
const LOOKS = { delivered: ["good", "check"], failing: ["wait", "retry"], dead: ["bad", "alert"] };

export function webhook(place, context, name, user) {
  const { api, own, signal } = context;
  const actions = el("div.actions");
  const body = el("div.stackable", {}, loading());
  place.append(el("a.back", { href: "#/webhooks" }, icon("back"), told.back), el("header.heading", {}, el("h1", { tabindex: "-1" }, name), actions), body);
  document.title = `${name} · ${texts.product}`;
  let shown = "";
  let held = null;
  const where = (more) => about(name, user, own, more);
  const look = async () => {
    try {
      const [{ data }, { deliveries }, { dead, total }] = await Promise.all([
        api.get(where(""), signal),
        api.get(where("/deliveries"), signal),
        api.get(where("/dead"), signal),
      ]);
      held = data;
      const now = JSON.stringify([data, deliveries, dead]);
      if (now === shown) return;
      shown = now;
      fill(body, card(names(data), summary(data, total)), lanes(data), letters({ context, where, look, name }, dead, total), recent(deliveries));
    } catch (error) {
      if (signal.aborted) return;
      shown = "";
      if (error.status === 404) fill(body, empty("search", told.missing(name), null, el("a.button", { href: "#/webhooks" }, told.back)));
      else fill(body, failed(error, look));
    }
  };
  if (context.may("manage")) {
    fill(
      actions,
      button("button", told.edit, async () => held && (await edit(context, held)) && look()),
      button("button.danger", told.remove, async () => {
        if (!(await confirm(name, told.ask.remove))) return;
        await api.delete(where(""));
        say(told.removed(name));
        location.hash = "#/webhooks";
      }),
    );
  }
  every(NEWS, look, signal);
}

function summary(one, dead) {
  return el(
    "div.stackable",
    {},
    el("div.verdict", {}, verdict(one, dead)),
    facts([
      [told.url, el("bdi", one.url)],
      [told.delivered, texts.number(one.totals.delivered)],
      [told.dead, texts.number(dead)],
      one.userId && [texts.keys.user, one.userId],
    ]),
  );
}

function lanes(one) {
  if (!one.failing.length) return null;
  return card(
    told.lanes,
    el("p.quiet.small", told.lanesHint),
    el(
      "ul.rows",
      {},
      ...one.failing.map((lane) =>
        el(
          "li",
          {},
          el("div.grow", {}, el("p.strong.clip", lane.session), el("p.quiet.small.wrap", lane.lastError ?? "")),
          el("div.end", {}, mark("bad", "retry", told.attempts(lane.failures)), el("span.quiet.small", lane.nextAttempt ? told.next(clock(lane.nextAttempt)) : "")),
        ),
      ),
    ),
  );
}

function letters({ context, where, look, name }, dead, total) {
  const { api } = context;
  const may = context.may("manage");
  if (!dead.length) return card(told.dead, empty("check", told.noDead, told.noDeadHint));
  const driven = (answer) => {
    const refused = answer.results.find((one) => one.error);
    if (answer.remaining && refused) complain(new Error(`${told.redriven(answer.delivered, answer.remaining)}. ${told.stillRefused(refused.error)}`));
    else say(told.redriven(answer.delivered, answer.remaining));
    return look();
  };
  const discard = async () => {
    if (!(await confirm(name, told.ask.discard))) return;
    await api.delete(where("/dead"));
    await look();
  };
  return card(
    `${told.dead} (${texts.number(total)})`,
    may && el("div.actions", {}, button("button.primary", told.redriveAll, async () => driven(await api.post(where("/redrive"))), { symbol: "retry" }), button("button.danger", told.discardAll, discard)),
    el(
      "ul.rows",
      {},
      ...dead.map((one) =>
        el(
          "li",
          {},
          el("div.grow", {}, el("p.strong.clip", `${one.event} · ${one.session}`), el("p.quiet.small.wrap", [told.reason[one.reason] ?? one.reason, one.lastError].filter(Boolean).join(": "))),
          el("div.end", {}, el("span.quiet.small", clock(one.timestamp)), may && button("button", told.redrive, async () => driven(await api.post(where(`/dead/${one.id}/redrive`))), { "aria-label": `${told.redrive} #${one.position}` })),
        ),
      ),
    ),
  );
}

function recent(deliveries) {
  if (!deliveries.length) return card(told.deliveries, empty("clock", told.noDeliveries, told.noDeliveriesHint));
  return card(
    told.deliveries,
    el(
      "ul.rows",
      {},
      ...deliveries.slice(0, 50).map((one) =>
        el(
          "li",
          {},
          el("div.grow", {}, el("p.strong.clip", `${one.event} · ${one.session}`), el("p.quiet.small.wrap", [told.attempts(one.attempts), one.httpStatus && `HTTP ${one.httpStatus}`, one.lastError].filter(Boolean).join(", "))),
          el("div.end", {}, mark(...(LOOKS[one.status] ?? LOOKS.failing), told.status[one.status] ?? one.status), el("span.quiet.small", clock(one.timestamp))),
        ),
      ),
    ),
  );
}
