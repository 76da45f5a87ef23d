/** Webhooks: endpoints, and one of them with its deliveries and dead letters. */

import { dialog } from "./dialog.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { EVENTS } from "./names.js";
import { busy, copyable, empty, failed, field, heading, loading } from "./parts.js";
import { mark } from "./states.js";
import { texts } from "./texts.js";
import { every } from "./time.js";
import { say, sentence } from "./toast.js";
import { webhook } from "./webhook.js";

const told = texts.webhooks;
const NEWS = 5;

/** Where a webhook is asked for: an admin says whose it is. */
export function about(name, user, own, more = "") {
  const whose = own.admin && user ? `?userId=${encodeURIComponent(user)}` : "";
  return `api/webhooks/${encodeURIComponent(name)}${more}${whose}`;
}

export function webhooks(place, context, name, user) {
  if (name) return webhook(place, context, name, user);
  const body = el("div", {}, loading());
  const make = () => edit(context, null).then((saved) => saved && look());
  const create = () => context.may("manage") && el("button.primary", { type: "button", onclick: make }, icon("plus"), told.create);
  place.append(heading(told.title, told.subtitle, create()), body);
  let shown = "";
  const look = async () => {
    try {
      const { webhooks } = await context.api.get("api/webhooks", context.signal);
      const now = JSON.stringify(webhooks);
      if (now === shown) return;
      shown = now;
      if (!webhooks.length) fill(body, empty("webhooks", told.empty, told.emptyHint, create()));
      else fill(body, el("ul.list", {}, ...webhooks.map((one) => row(one))));
    } catch (error) {
      if (!context.signal.aborted) fill(body, failed(error, look));
      shown = "";
    }
  };
  return every(NEWS, look, context.signal);
}

function row(one) {
  const where = `#/webhooks/${encodeURIComponent(one.name)}${one.userId ? `/${encodeURIComponent(one.userId)}` : ""}`;
  return el(
    "li.item",
    {},
    el("div.grow", {}, el("a.strong.clip.block", { href: where }, one.name), el("bdi.quiet.small.clip.block", one.url)),
    el("div.grow", {}, el("p.small.clip", names(one)), el("p.quiet.small.clip", one.userId ? texts.keys.forUser(one.userId) : texts.keys.admin)),
    el("div.end", {}, verdict(one), el("span.quiet.small", told.totals(one.totals.delivered, one.totals.dead))),
  );
}

/** Whether it delivers; `dead` is how many letters lie there, where that is known. */
export function verdict(one, dead = 0) {
  if (one.failing.length) return mark("bad", "alert", told.fails(one.failing.length));
  // A list knows only how many died so far: where none arrived, they lie there.
  if (dead || (one.totals.dead && !one.totals.delivered)) return mark("wait", "alert", told.hasDead);
  if (!one.totals.delivered) return mark("rest", "clock", told.idle);
  return mark("good", "check", told.well);
}

/** The events that it gets, in words. */
export function names(one) {
  const events = one.events.includes("*") ? told.allEvents : one.events.join(", ");
  return one.session ? `${events} · ${one.session}` : events;
}

/** Make a webhook or change one; resolves with whether it was saved. */
export async function edit(context, held) {
  const saved = await dialog(held ? `${told.edit}: ${held.name}` : told.create, (signal, close) => form(context, held, signal, close));
  if (!saved) return false;
  say(told.saved(saved.data.name));
  if (saved.secret) {
    await dialog(told.secret, (_, close) => [
      el("p.quiet", told.secretHint),
      copyable(saved.secret, told.secret),
      el("footer", {}, el("button.primary", { type: "button", onclick: () => close() }, texts.common.close)),
    ]);
  }
  return true;
}

function form({ api, own, store }, held, signal, close) {
  const plain = { autocomplete: "off", spellcheck: "false", autocapitalize: "none" };
  const name = el("input", { ...plain, value: held?.name ?? "", readonly: Boolean(held), maxlength: "64", required: true });
  const url = el("input", { ...plain, type: "url", value: held?.url ?? "", required: true, placeholder: "https://" });
  const user = own.admin && el("input", { ...plain, value: held?.userId ?? "", readonly: Boolean(held), maxlength: "64" });
  const session = el("select", {}, el("option", { value: "" }, told.everySession), ...store.list.map((one) => el("option", { value: one.sessionId }, one.sessionId)));
  session.value = held?.session ?? "";
  const all = el("input", { type: "checkbox", checked: !held || held.events.includes("*"), onchange: () => (some.disabled = all.checked) });
  const boxes = EVENTS.map((event) => el("input", { type: "checkbox", value: event, checked: Boolean(held?.events.includes(event)) }));
  const some = el("fieldset.choices.many", { disabled: all.checked }, el("legend", told.someEvents), ...boxes.map((box) => el("label", {}, box, box.value)));
  const said = el("p.said", { role: "alert" });
  const submit = el("button.primary", { type: "submit" }, texts.common.save);
  const submitted = (event) => {
    event.preventDefault();
    return busy(submit, async () => {
      const chosen = all.checked ? ["*"] : boxes.filter((box) => box.checked).map((box) => box.value);
      const body = { url: url.value.trim(), events: chosen, session: session.value || null };
      try {
        close(await api.put(about(name.value.trim(), user && user.value.trim(), own), body));
      } catch (error) {
        if (!signal.aborted) fill(said, icon("alert"), el("span", sentence(error)));
      }
    });
  };
  return el(
    "form",
    { onsubmit: submitted },
    field(told.name, name, held ? null : told.nameHint),
    field(told.url, url, told.urlHint),
    user && field(told.user, user, told.userHint),
    field(texts.chats.session, session),
    el("label.choice", {}, all, told.allEvents),
    some,
    said,
    el("footer", {}, el("button", { type: "button", onclick: () => close() }, texts.common.cancel), submit),
  );
}
