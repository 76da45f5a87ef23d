/** Short news at the edge of the page, which screen readers say aloud. */

import { el, settle } from "./dom.js";
import { icon } from "./icons.js";
import { texts } from "./texts.js";

const SHOWN = 6_000;
let place = null;

function host() {
  if (!place?.isConnected) {
    place = el("div.toasts", { role: "status", "aria-live": "polite" });
    document.body.append(place);
  }
  return place;
}

/** Say that something went well. */
export function say(text) {
  show(text, "good", "check", SHOWN);
}

/** Say what was refused, and when to try again. */
export function complain(error) {
  if (error.name === "AbortError") return;
  show(sentence(error), "bad", "alert", 2 * SHOWN);
}

/** What an error says, with the wait where there is one. */
export function sentence(error) {
  const later = error.retryAfter ? ` ${texts.errors.later(Math.ceil(error.retryAfter / 1000))}` : "";
  return `${error.message}${later}`;
}

function show(text, tone, symbol, time) {
  const node = el("div.toast", { "data-tone": tone }, icon(symbol), el("p", text));
  const gone = () => {
    const inside = node.contains(document.activeElement);
    node.remove();
    if (inside) settle();
  };
  const leave = el("button.plain", { type: "button", "aria-label": texts.common.close, onclick: gone }, icon("close"));
  node.append(leave);
  host().append(node);
  // An open dialog is above everything else, so the news goes into it.
  const dialog = document.querySelector("dialog[open]");
  (dialog ?? document.body).append(place);
  setTimeout(gone, time);
}
