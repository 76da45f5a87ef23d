/** The live stream: what happens as it happens, with filters, a pause, and the JSON on demand. */

import { el, fill, keyed, write } from "./dom.js";
import { icon } from "./icons.js";
import { empty, field, grow, heading } from "./parts.js";
import { EVENTS, toneOf } from "./names.js";
import { texts } from "./texts.js";
import { clock } from "./time.js";

const told = texts.events;
const SHOWN = 200;
const PAUSE = 250;

export function events(place, context) {
  const { feed, signal } = context;
  const session = el("input", { type: "search", autocomplete: "off", spellcheck: "false", placeholder: told.sessionHint, oninput: () => draw() });
  const event = el("select", { onchange: () => draw() });
  const pause = el("button", { type: "button", "aria-pressed": "false", onclick: () => hold(!paused) });
  const clear = el("button", { type: "button", onclick: () => ((from = feed.count), draw()) }, icon("trash"), told.clear);
  const count = el("p.quiet", { role: "status", "aria-live": "off" });
  const body = el("div");
  const list = el("ul.list.stream");
  const show = keyed(list, (frame) => frame.id, row);
  let paused = false;
  let until = 0;
  let from = 0;
  let timer = 0;

  const draw = () => {
    timer = 0;
    const last = paused ? until : feed.count;
    const kept = feed.after(from).filter((frame) => frame.number <= last);
    const wanted = session.value.trim().toLowerCase();
    const found = kept.filter((frame) => (!event.value || frame.event === event.value) && (!wanted || frame.session.toLowerCase().includes(wanted)));
    const here = found.slice(-SHOWN).reverse();
    write(count, paused && feed.count > until ? told.waiting(feed.count - until) : told.shown(found.length, kept.length));
    if (!kept.length) return fill(body, empty("events", told.empty, told.emptyHint));
    if (!found.length) return fill(body, empty("search", told.nothing, told.nothingHint));
    show(here);
    if (list.parentNode !== body) fill(body, list);
    return list;
  };
  const hold = (next) => {
    paused = next;
    until = feed.count;
    pause.setAttribute("aria-pressed", String(paused));
    fill(pause, icon(paused ? "play" : "pause"), paused ? told.resume : told.pause);
    draw();
  };

  fill(event, el("option", { value: "" }, told.every), ...EVENTS.map((name) => el("option", { value: name }, name)));
  place.append(
    heading(told.title, told.subtitle, pause, clear),
    el("div.filters", {}, grow(field(told.session, session)), field(told.event, event)),
    count,
    body,
  );
  hold(false);
  // Fifty events a second are drawn four times a second.
  feed.on("frame", () => (timer ||= setTimeout(draw, PAUSE)), signal);
  signal.addEventListener("abort", () => clearTimeout(timer));
}

function row(frame) {
  const json = el("div.json");
  const about = gist(frame);
  const details = el(
    "details",
    {},
    el(
      "summary",
      {},
      el("time.mono", { datetime: frame.timestamp, title: frame.timestamp }, clock(frame.timestamp)),
      el("span.badge", { "data-tone": toneOf(frame.event) }, frame.event),
      el("bdi.strong.clip", frame.session),
      el("bdi.quiet.clip", about),
      el("span.quiet.small.place", frame.position === null ? told.unstored : `#${frame.position}`),
    ),
    json,
  );
  details.addEventListener("toggle", () => {
    // Made when somebody looks: two hundred trees of JSON would be most of the page.
    if (details.open && !json.childElementCount) fill(json, el("pre", { tabindex: "0", role: "region", "aria-label": `JSON ${frame.event}` }, pretty(frame)));
  });
  return { node: el("li", {}, details) };
}

function gist({ event, payload }) {
  const said = payload.message?.body ?? payload.reason ?? payload.error ?? payload.status ?? payload.message ?? "";
  if (event === "gap") return told.gap;
  if (event === "message-ack") return texts.chats.ack[payload.ack] ?? "";
  return String(typeof said === "string" ? said : "").slice(0, 200);
}

/** Codes are credentials: whoever scans one is linked. */
function pretty({ number, ...frame }) {
  return JSON.stringify(frame, (name, value) => (["qr", "qrDataUrl"].includes(name) && value ? told.secret : value), 2);
}
