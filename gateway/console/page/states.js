/** The states of a session, each told by colour, by icon and by word. */

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { texts } from "./texts.js";

const LOOKS = {
  ready: ["good", "check"],
  authenticated: ["wait", "clock"],
  initializing: ["wait", "clock"],
  waiting_qr: ["info", "qr"],
  reconnecting: ["wait", "retry"],
  disconnected: ["rest", "unlink"],
  suspended: ["bad", "alert"],
  auth_failed: ["bad", "ban"],
  logged_out: ["rest", "leave"],
  stopped: ["rest", "pause"],
  not_found: ["rest", "info"],
};

/** The order in which states are listed: what needs somebody comes first. */
export const ORDER = [
  "suspended",
  "auth_failed",
  "waiting_qr",
  "reconnecting",
  "initializing",
  "authenticated",
  "disconnected",
  "logged_out",
  "stopped",
  "ready",
];

export const AT_REST = new Set(["stopped", "disconnected", "logged_out", "auth_failed", "suspended"]);

/** The tone of a state: good, wait, info, bad or rest. */
export const tone = (status) => (LOOKS[status] ?? LOOKS.not_found)[0];

/** A badge that shows a state; `set` shows another one. */
export function badge(status) {
  const node = el("span.badge");
  const set = (next) => {
    if (node.dataset.status === next) return;
    node.dataset.status = next;
    node.dataset.tone = tone(next);
    fill(node, icon((LOOKS[next] ?? LOOKS.not_found)[1]), texts.states[next] ?? next);
  };
  set(status);
  return { node, set };
}

/** A badge of another kind: a tone, an icon and a word. */
export function mark(tone, symbol, word) {
  return el("span.badge", { "data-tone": tone }, icon(symbol), word);
}

const EXPLAINED = new Set(["reconnecting", "disconnected", "suspended", "auth_failed", "logged_out", "stopped"]);

/** Why a session is where it is; empty where its state says enough. */
export function reason(session) {
  if (!EXPLAINED.has(session.status)) return "";
  const told = texts.reasons[session.reason] ?? session.reason?.replaceAll("_", " ");
  if (session.error && session.error !== session.reason) {
    return told ? `${told}: ${session.error}` : session.error;
  }
  return told ?? "";
}
