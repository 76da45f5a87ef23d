/** Names of events on the live feed; a test holds them against the gateway's own. */

export const EVENTS = [
  "auth-failed",
  "disconnected",
  "loading-progress",
  "message-ack",
  "message-failed",
  "message-from-me",
  "message-received",
  "qr-limit-reached",
  "session-activated",
  "session-authenticated",
  "session-disconnected",
  "session-disconnection-failed",
  "session-error",
  "session-ready",
  "session-reconnected",
  "session-reconnecting",
  "state-change",
];

const TONES = {
  "session-ready": "good",
  "session-reconnected": "good",
  "message-received": "info",
  "message-from-me": "info",
  "session-reconnecting": "wait",
  "session-disconnected": "wait",
  disconnected: "wait",
  gap: "wait",
  "auth-failed": "bad",
  "message-failed": "bad",
  "session-error": "bad",
  "session-disconnection-failed": "bad",
};

/** The tone of an event: good, wait, info, bad or rest. */
export const toneOf = (event) => TONES[event] ?? "rest";
