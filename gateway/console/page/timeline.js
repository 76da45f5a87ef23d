/** The story of a session: its events with what caused each, to any point in time. */

import { path } from "./api.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { busy, button, card, empty, failed, field, loading } from "./parts.js";
import { badge } from "./states.js";
import { texts } from "./texts.js";
import { clock } from "./time.js";

const told = texts.timeline;
const PAGE = 50;
const PAUSE = 600;

export function timeline(context, id) {
  const { api, feed, signal } = context;
  const when = el("input", { type: "datetime-local", step: "1" });
  const now = el("button", { type: "button", onclick: () => go(null) }, told.now);
  const show = el("button", { type: "submit" }, told.show);
  const place = el("div", {}, loading());
  let at = null;
  let story = [];
  let before = null;
  let timer = 0;

  const ask = (more = {}) => {
    const query = new URLSearchParams({ limit: PAGE, ...(at && { at }), ...more });
    return api.get(`${path`api/sessions/${id}/timeline`}?${query}`, signal);
  };
  const look = async () => {
    timer = 0;
    try {
      const found = await ask();
      // What was paged back to stays while news are added above it.
      const known = new Set(found.story.map((one) => one.version));
      const kept = story.filter((one) => !known.has(one.version) && found.story.length && one.version < found.story[0].version);
      if (!kept.length) before = found.nextBefore;
      story = [...kept, ...found.story];
      draw(found);
    } catch (error) {
      if (!signal.aborted) fill(place, failed(error, look));
    }
  };
  const older = async () => {
    const found = await ask({ before });
    before = found.nextBefore;
    story = [...found.story, ...story];
    list();
  };
  const rows = el("ol.story");
  const more = button("button", told.older, older);
  const draw = (found) => {
    const why = found.why.length ? el("div.why", {}, el("h3", at ? told.whyThen(clock(found.at)) : told.why), ...found.why.map((line) => el("p", line))) : null;
    if (!found.session) return fill(place, empty("clock", told.before, told.beforeHint));
    fill(place, el("div.stackable", {}, why, rows, more));
    return list();
  };
  const list = () => {
    const named = new Map(story.map((one) => [one.id, one]));
    fill(rows, ...[...story].reverse().map((one) => event(one, named, go)));
    more.hidden = before === null;
  };
  const go = (moment) => {
    at = moment;
    story = [];
    // The field speaks in the time of the place, the service in that of the world.
    when.value = moment ? local(new Date(moment)) : "";
    return look();
  };
  feed.on("frame", (frame) => !at && frame.session === id && !frame.event.startsWith("message-") && (timer ||= setTimeout(look, PAUSE)), signal);
  signal.addEventListener("abort", () => clearTimeout(timer));
  look();
  const submitted = (event) => {
    event.preventDefault();
    return busy(show, () => go(when.value ? new Date(when.value).toISOString() : null));
  };
  return el("div.full", {}, card(told.title, el("p.quiet.small", told.hint), el("form.moment", { onsubmit: submitted }, field(told.at, when), show, now), place));
}

function local(when) {
  return new Date(when - when.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function event(one, named, go) {
  const causes = one.causes.map((id) => named.get(id)).filter(Boolean);
  return el(
    "li",
    {},
    el("button.plain.when.mono", { type: "button", title: told.to(clock(one.at)), onclick: () => go(one.at) }, clock(one.at)),
    el(
      "div.grow",
      {},
      el("p", { dir: "auto" }, one.text),
      causes.length > 0 && el("p.quiet.small.cause", {}, icon("reply"), el("span", {}, told.because(causes.map((cause) => cause.text).join("; ")))),
      !causes.length && one.command && el("p.quiet.small", told.command),
    ),
    el("div.end", {}, badge(one.status).node, el("code.quiet.small", one.type)),
  );
}
