/** Times as people read them, kept up to date by one clock for the whole page. */

import { write } from "./dom.js";
import { texts } from "./texts.js";

// Kept, for to make one takes longer than all that it ever writes.
const SECONDS = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const MINUTES = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat([], { day: "numeric", month: "short", year: "numeric" });
const beats = new Set();

setInterval(() => {
  for (const beat of beats) beat();
}, 1000);

/** Run something now and every second, until a view is left. */
export function eachSecond(run, signal) {
  run();
  beats.add(run);
  signal.addEventListener("abort", () => beats.delete(run));
}

/** Run something now and then (the seconds) until a view is left; never two at once. */
export function every(seconds, run, signal) {
  let timer = 0;
  const again = async () => {
    // A tab that nobody sees asks for nothing.
    if (!document.hidden) await run();
    if (!signal.aborted) timer = setTimeout(again, seconds * 1000);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  return again();
}

/** The time of day, with the date where it is not today. */
export function clock(at) {
  const [when, now] = [new Date(at), new Date()];
  const time = SECONDS.format(when);
  if (when.toDateString() === now.toDateString()) return time;
  return `${(when.getFullYear() === now.getFullYear() ? DAY : YEAR).format(when)}, ${time}`;
}

/** The time of day in hours and minutes; the date where it is not today. */
export function hour(at) {
  const when = new Date(at);
  return (when.toDateString() === new Date().toDateString() ? MINUTES : DAY).format(when);
}

/** The time of day in hours and minutes, for the axis of a chart; seconds since the epoch. */
export function mark(seconds) {
  return MINUTES.format(seconds * 1000);
}

/** How long ago something was, in one unit. */
export function ago(at) {
  return texts.time.ago(Math.max(0, Math.round((Date.now() - new Date(at)) / 1000)));
}

/** A number of seconds in at most two units. */
export function lasted(seconds) {
  return texts.time.lasted(Math.max(0, Math.round(seconds)));
}

/** Seconds until a moment; 0 when it is past. */
export function until(at) {
  return Math.max(0, Math.ceil((new Date(at) - Date.now()) / 1000));
}

/** A signal for a part that may go before its view does, and what ends it. */
export function within(signal) {
  const own = new AbortController();
  const end = () => own.abort();
  signal.addEventListener("abort", end, { signal: own.signal });
  return { signal: own.signal, end };
}

/** A `<time>` that says how long ago, and keeps saying it. */
export function since(at, signal) {
  const made = document.createElement("time");
  made.dateTime = at;
  made.title = clock(at);
  eachSecond(() => write(made, ago(at)), signal);
  return made;
}
