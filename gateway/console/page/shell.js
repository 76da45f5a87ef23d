/** What surrounds every view: sections, whose key it is, the theme, and whether it is live. */

import { el, fill, hide, write } from "./dom.js";
import { icon } from "./icons.js";
import { texts } from "./texts.js";
import { choose, chosen, THEMES } from "./theme.js";
import { clock, eachSecond, until } from "./time.js";
import { say } from "./toast.js";

const SECTIONS = ["overview", "sessions", "chats", "events", "webhooks", "keys"];
const SYMBOLS = { system: "screen", light: "sun", dark: "moon" };

/** Draw the shell; returns the place for views and what marks a section as the current one. */
export function shell(place, context, leave) {
  const { own, feed, signal } = context;
  const sections = SECTIONS.filter((name) => name !== "keys" || (own.admin && own.scopes.includes("manage")));
  const links = new Map(sections.map((name) => [name, el("a", { href: `#/${name}` }, icon(name), el("span", texts.nav[name]))]));
  const main = el("main", { id: "content", tabindex: "-1" });
  const banner = el("div.banner", { role: "status", hidden: true });
  const whose = own.admin ? texts.shell.admin : texts.shell.tenant(own.userId);
  fill(
    place,
    el("a.skip", { href: "#content", onclick: (event) => (event.preventDefault(), main.focus()) }, texts.nav.skip),
    el(
      "header.top",
      {},
      el("div.brand", {}, el("img", { src: new URL("icon.svg", import.meta.url), alt: "", width: "28", height: "28" }), el("span", texts.product)),
      el("p.whose", { title: whose }, icon("keys"), el("span", own.admin ? "admin" : own.userId)),
      pulse(feed, signal),
      themes(),
      el("button.plain", { type: "button", "aria-label": texts.shell.leave, title: texts.shell.leave, onclick: () => leave() }, icon("leave")),
    ),
    el("nav", { "aria-label": texts.nav.label }, ...links.values()),
    el("div.page", {}, banner, main),
  );
  watch(feed, banner, main, signal);
  const mark = (section) => {
    for (const [name, link] of links) {
      if (name === section) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  };
  return { main, mark };
}

function pulse(feed, signal) {
  const word = el("span");
  const node = el("p.pulse", {}, el("i", { "aria-hidden": "true" }), word);
  const show = () => {
    node.dataset.state = feed.state;
    write(word, feed.state === "cut" ? texts.shell.cutShort : texts.shell[feed.state]);
  };
  feed.on("state", show, signal);
  show();
  return node;
}

function watch(feed, banner, main, signal) {
  const about = el("span");
  const next = el("span", { "aria-live": "off" });
  const now = el("button", { type: "button", onclick: () => feed.now() }, texts.shell.now);
  fill(banner, icon("alert"), el("p", {}, about, " ", next), now);
  let wasCut = false;
  const show = () => {
    const cut = feed.state === "cut";
    if (!cut) hide(banner, main);
    else banner.hidden = false;
    if (cut) {
      write(about, texts.shell.cut(clock(feed.since)));
      write(next, texts.shell.again(until(feed.due)));
    } else if (wasCut && feed.state === "live") say(texts.shell.back);
    wasCut = cut || (wasCut && feed.state !== "live");
  };
  feed.on("state", show, signal);
  eachSecond(show, signal);
}

function themes() {
  const button = el("button.plain", { type: "button" });
  const show = () => {
    const theme = chosen();
    fill(button, icon(SYMBOLS[theme]));
    const label = `${texts.shell.theme}: ${texts.shell.themes[theme]}`;
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    choose(THEMES[(THEMES.indexOf(chosen()) + 1) % THEMES.length]);
    show();
  });
  show();
  return button;
}
