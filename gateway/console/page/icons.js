/** Icons as strokes on a 24 by 24 grid. They decorate: the word always stands beside them. */

import { svg } from "./dom.js";

const STROKES = {
  overview: "M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-4H4zM14 8h6V4h-6z",
  sessions: "M7 3h10a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM11 18h2",
  chats: "M4 5h16v11H9l-5 4z",
  events: "M3 12h4l3-8 4 16 3-8h4",
  webhooks: "M9 15l6-6M8 11l-2 2a3.5 3.5 0 0 0 5 5l2-2M16 13l2-2a3.5 3.5 0 0 0-5-5l-2 2",
  keys: "M8 12.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM11.3 11.3L20 20M15.5 15.5l3-3",
  check: "M5 12.5l4.5 4.5L19 7.5",
  clock: "M12 7v5l3 2M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18z",
  qr: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2v2h-2zM18 18h2v2h-2zM18 14h2M14 18v2",
  retry: "M20 11a8 8 0 1 0-2.3 6M20 5v6h-6",
  pause: "M9 5v14M15 5v14",
  play: "M7 4.5v15l12-7.5z",
  stop: "M6 6h12v12H6z",
  ban: "M5.6 5.6l12.8 12.8M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18z",
  unlink: "M4 4l16 16M9 15l1.5-1.5M8 11l-2 2a3.5 3.5 0 0 0 5 5l1-1M16 13l2-2a3.5 3.5 0 0 0-5-5l-1 1",
  alert: "M12 4L2.8 20h18.4zM12 10v4M12 17v.5",
  info: "M12 11v6M12 7.5V8M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18z",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  search: "M11 18a7 7 0 1 1 0-14 7 7 0 0 1 0 14zM16 16l4.5 4.5",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M19 5l-1.4 1.4M6.4 17.6L5 19",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  screen: "M3 5h18v12H3zM8 21h8",
  leave: "M14 4h5v16h-5M4 12h10M10 8l4 4-4 4",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  send: "M4 12l16-8-6 16-3-6z",
  clip: "M8 12.5l6-6a3 3 0 0 1 4.3 4.3l-8 8a5 5 0 0 1-7-7l7.5-7.6",
  reply: "M10 6L4 12l6 6M4 12h9a7 7 0 0 1 7 7",
  smile: "M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18zM8.5 14.5a4.5 4.5 0 0 0 7 0M9 9.5V10M15 9.5V10",
  back: "M15 5l-7 7 7 7",
  camera: "M4 7h4l2-3h4l2 3h4v12H4zM12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
};

/** Make an icon; screen readers pass over it. */
export function icon(name, given = {}) {
  const drawn = svg("path", { d: STROKES[name] ?? STROKES.info });
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", ...given }, drawn);
}

/** The double tick of a delivered message. */
export function ticks(count) {
  const paths = count > 1 ? "M2 13l4 4L15 7M10 16l1 1L21 7" : "M5 12.5l4.5 4.5L19 7.5";
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, svg("path", { d: paths }));
}
