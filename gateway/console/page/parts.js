/** Pieces that every view is made of: headings, empty states, errors, menus, copying. */

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { texts } from "./texts.js";
import { complain, say, sentence } from "./toast.js";

/** The head of a view: its title, what it says of itself, and what can be done. */
export function heading(title, about, ...actions) {
  return el("header.heading", {}, el("div", {}, el("h1", { tabindex: "-1" }, title), about && el("p.quiet", about)), actions.length > 0 && el("div.actions", {}, ...actions));
}

/** A card with a title. */
export function card(title, ...children) {
  return el("section.card", {}, el("h2", title), ...children);
}

/** What stands where nothing is: what is missing, and what to do next. */
export function empty(symbol, title, hint, ...actions) {
  return el("div.empty", {}, icon(symbol), el("p.strong", title), hint && el("p.quiet", hint), ...actions);
}

/** What stands where something could not be read. */
export function failed(error, again) {
  return el(
    "div.empty.failed",
    { role: "alert" },
    icon("alert"),
    el("p.strong", texts.errors.load),
    el("p.quiet", sentence(error)),
    again && el("button", { type: "button", onclick: again }, texts.common.retry),
  );
}

/** What stands where something is on its way. */
export function loading() {
  return el("p.loading", { role: "status" }, texts.common.loading);
}

/** A button that is busy while its work is under way, and says what was refused. */
export function button(name, label, work, { symbol, ...given } = {}) {
  const made = el(name, { type: "button", ...given }, symbol && icon(symbol), label);
  made.addEventListener("click", () => busy(made, work));
  return made;
}

/** Do something while a button waits; refusals are told. */
export async function busy(made, work) {
  if (made.getAttribute("aria-busy") === "true") return;
  made.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    complain(error);
  } finally {
    made.removeAttribute("aria-busy");
  }
}

/** A text with a button that copies it. */
export function copyable(text, label) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(texts.common.copied);
    } catch {
      complain(new Error(texts.common.copyFailed));
    }
  };
  return el("div.copyable", {}, el("code", { tabindex: "0", "aria-label": label }, text), button("button", texts.common.copy, copy, { symbol: "copy" }));
}

/** A menu of actions behind one button; Escape and a click elsewhere close it. */
export function menu(label, items) {
  const list = el("div.items");
  const node = el("details.menu", {}, el("summary", { "aria-label": label, title: label }, icon("more")), list);
  const close = () => (node.open = false);
  // Focus goes back to what opened it before what is chosen opens a dialog, which returns it there.
  const leave = () => {
    close();
    node.querySelector("summary").focus();
  };
  node.addEventListener("toggle", () => {
    if (node.open) fill(list, ...items().map(([text, run, kind]) => el(`button${kind ? `.${kind}` : ""}`, { type: "button", onclick: () => (leave(), run()) }, text)));
  });
  node.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && node.open) leave();
  });
  node.addEventListener("focusout", (event) => {
    if (!node.contains(event.relatedTarget)) close();
  });
  return node;
}

/** A list of facts: names and values. */
export function facts(pairs) {
  return el("dl.facts", {}, ...pairs.filter(Boolean).map(([name, value]) => el("div", {}, el("dt", name), el("dd", value))));
}

let fields = 0;

/** A field with its label, and a hint below it that is read after the label. */
export function field(label, input, hint) {
  const id = `field-${++fields}`;
  input.id = id;
  if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
  return el("div.field", {}, el("label", { for: id }, label), input, hint && el("small.quiet", { id: `${id}-hint` }, hint));
}

/** A part that takes what room is left beside others. */
export function grow(node) {
  node.classList.add("grow");
  return node;
}
