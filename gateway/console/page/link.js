/** Linking a phone: a large code to scan with its countdown, or letters to type. */

import { path } from "./api.js";
import { dialog } from "./dialog.js";
import { el, fill, hide, write } from "./dom.js";
import { icon } from "./icons.js";
import { busy, button, field, loading } from "./parts.js";
import { texts } from "./texts.js";
import { eachSecond, until } from "./time.js";
import { sentence } from "./toast.js";

const told = texts.link;

/** Link a session's phone; the dialog stays until it is linked or dismissed. */
export function link(context, id) {
  return dialog(
    told.title(id),
    (signal, close) => {
      const place = el("div.link");
      const ways = { scan: scan(context, id, signal), type: type(context, id, signal) };
      const tabs = Object.keys(ways).map((name) =>
        el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `way-${name}`, onclick: () => turn(name) }, told[name]),
      );
      const turn = (name) => {
        for (const tab of tabs) {
          const on = tab.id === `tab-${name}`;
          tab.setAttribute("aria-selected", String(on));
          tab.tabIndex = on ? 0 : -1;
        }
        for (const [way, node] of Object.entries(ways)) node.hidden = way !== name;
      };
      const row = el("div.tabs", { role: "tablist", onkeydown: (event) => arrows(event, tabs) }, ...tabs);
      turn("scan");
      fill(place, row, ...Object.values(ways));
      let shown = "";
      const follow = () => {
        const session = context.store.sessions.get(id);
        const now = session?.isReady ? "ready" : session?.status === "authenticated" ? "authenticated" : "";
        if (now && now !== shown) fill(place, now === "ready" ? linked(session, close) : scanned());
        shown = now || shown;
      };
      context.store.watch(follow, signal);
      return place;
    },
    "wide",
  );
}

function arrows(event, tabs) {
  if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
  const other = tabs.find((tab) => tab !== document.activeElement) ?? tabs[0];
  other.focus();
  other.click();
}

function linked(session, close) {
  const open = el("a.button.primary", { href: `#/sessions/${encodeURIComponent(session.sessionId)}`, onclick: () => close(true) }, told.open);
  return el(
    "div.linked",
    { role: "status" },
    icon("check"),
    el("p.strong", told.linked),
    el("p.quiet", told.linkedAs(session.phoneNumber)),
    el("footer", {}, el("button", { type: "button", onclick: () => close(true) }, told.done), open),
  );
}

function scanned() {
  return el("div.linked", { role: "status" }, icon("clock"), el("p.strong", told.authenticated), loading());
}

function steps(lines) {
  return el("ol.steps", {}, ...lines.map((line) => el("li", line)));
}

function scan(context, id, signal) {
  const { api, store } = context;
  const picture = el("div.qr");
  const left = el("p.countdown", { role: "timer" });
  const bar = el("progress", { max: "60", value: 0, "aria-label": told.alt });
  const number = el("p.quiet.small");
  const again = button("button", told.fresh, () => ask(path`api/sessions/${id}/refresh-qr`, true), { hidden: true });
  const said = el("p.said", { role: "alert" });
  let code = null;
  let whole = 60;

  const tick = () => {
    const seconds = code ? until(code.expiresAt) : 0;
    bar.max = whole;
    bar.value = seconds;
    bar.hidden = !code;
    write(left, code ? (seconds > 0 ? told.expires(seconds) : told.expired) : "");
  };
  const show = (next) => {
    if (next.qr === code?.qr) {
      code.expiresAt = next.expiresAt ?? code.expiresAt;
      return;
    }
    // An answer that does not say how long its code is good: the feed does, a moment later.
    code = { expiresAt: Date.now() + 20_000, ...next };
    whole = Math.max(1, until(code.expiresAt));
    fill(picture, el("img", { src: next.qrDataUrl, alt: told.alt, width: "296", height: "296" }));
    write(number, next.attempt ? told.attempt(next.attempt) : "");
    fill(said);
    hide(again, document.getElementById("tab-scan"));
    tick();
  };
  const ask = async (where, fresh) => {
    try {
      const answer = fresh ? await api.post(where, {}, signal) : await api.get(where, signal);
      if (answer.qr) show(answer);
      store.touch(id);
    } catch (error) {
      if (signal.aborted) return;
      fill(said, icon("alert"), el("span", sentence(error)));
      again.hidden = false;
    }
  };

  fill(picture, loading(), el("p.quiet", told.waiting));
  store.watch(() => {
    const next = store.codes.get(id);
    if (next) show(next);
  }, signal);
  context.feed.on(
    "frame",
    (frame) => {
      if (frame.session !== id || frame.event !== "qr-limit-reached") return;
      fill(picture, icon("qr"), el("p.quiet", told.used));
      code = null;
      again.hidden = false;
    },
    signal,
  );
  eachSecond(tick, signal);
  ask(path`api/qr/${id}`, false);
  return el(
    "div.way",
    { id: "way-scan", role: "tabpanel", "aria-labelledby": "tab-scan" },
    el("div.code", {}, picture, bar, left, number),
    el("div", {}, steps(told.steps), said, again),
  );
}

function type(context, id, signal) {
  const input = el("input", { type: "tel", autocomplete: "tel", name: "phone", required: true });
  const letters = el("output.letters");
  const left = el("p.countdown", { role: "timer" });
  const said = el("p.said", { role: "alert" });
  const get = el("button.primary", { type: "submit" }, told.get);
  let due = null;
  const submitted = (event) => {
    event.preventDefault();
    return busy(get, async () => {
      try {
        fill(said);
        const { code, expiresAt } = await context.api.post(path`api/sessions/${id}/pairing-code`, { phoneNumber: input.value }, signal);
        write(letters, code.length === 8 ? `${code.slice(0, 4)}-${code.slice(4)}` : code);
        due = expiresAt;
      } catch (error) {
        if (!signal.aborted) fill(said, icon("alert"), el("span", sentence(error)));
      }
    });
  };
  eachSecond(() => {
    const seconds = due ? until(due) : 0;
    write(left, due ? (seconds > 0 ? told.typed(seconds) : told.typedOver) : "");
  }, signal);
  return el(
    "form.way",
    { id: "way-type", role: "tabpanel", "aria-labelledby": "tab-type", onsubmit: submitted, hidden: true },
    el("div", {}, field(told.phone, input, told.phoneHint), get, said, letters, left),
    el("div", {}, steps(told.typeSteps)),
  );
}
