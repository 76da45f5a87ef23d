/** The sessions as they are now: read once, then kept in step by the live feed. */

import { path } from "./api.js";

const PAUSE = 200;
const FEW = 3;
const ALL_AGAIN = 30_000;

export class Store extends EventTarget {
  constructor(api, feed) {
    super();
    this._api = api;
    this._stale = new Set();
    this._everything = true;
    this._reading = false;
    this._changed = false;
    this._ended = new AbortController();
    this.sessions = new Map();
    this.codes = new Map();
    this.loaded = false;
    this.error = null;
    const { signal } = this._ended;
    feed.on("frame", (frame) => this._take(frame), signal);
    feed.on("state", (state) => state === "live" && this.refresh(), signal);
    // What has no event outside (a breaker of a page) is seen by looking.
    const timer = setInterval(() => !document.hidden && this.refresh(), ALL_AGAIN);
    signal.addEventListener("abort", () => clearInterval(timer));
    this.refresh();
  }

  /** Be told of changes, at most a few times a second, until a view is left. */
  watch(listener, signal) {
    this.addEventListener("change", listener, { signal });
    listener();
  }

  /** The sessions in the order of their ids. */
  get list() {
    return [...this.sessions.values()].sort((one, other) => (one.sessionId < other.sessionId ? -1 : 1));
  }

  /** Read everything again. */
  refresh() {
    this._everything = true;
    this._soon();
  }

  /** Read one session again. */
  touch(id) {
    this._stale.add(id);
    this._soon();
  }

  /** Take what an answer said of a session. */
  put(session) {
    this.sessions.set(session.sessionId, session);
    this._mark();
  }

  close() {
    this._ended.abort();
  }

  _take(frame) {
    const held = this.sessions.get(frame.session);
    switch (frame.event) {
      case "qr-update":
        this.codes.set(frame.session, frame.payload);
        this._mark();
        break;
      case "message-received":
        if (held) {
          held.metrics.messagesReceived += 1;
          held.lastActivity = frame.timestamp;
          this._mark();
        }
        break;
      case "message-ack":
        // The first acknowledgement of a message is the news that it was sent.
        if (held && frame.payload.ack === 1) {
          held.metrics.messagesSent += 1;
          this._mark();
        }
        break;
      case "message-from-me":
      case "message-failed":
      case "loading-progress":
        break;
      case "gap":
        this.refresh();
        break;
      default:
        if (frame.event !== "queue-position") this.codes.delete(frame.session);
        this.touch(frame.session);
    }
  }

  _mark() {
    if (this._changed) return;
    this._changed = true;
    setTimeout(() => {
      this._changed = false;
      this.dispatchEvent(new Event("change"));
    }, PAUSE);
  }

  _soon() {
    if (this._reading) return;
    this._reading = true;
    setTimeout(() => this._read(), PAUSE);
  }

  async _read() {
    const stale = [...this._stale];
    const everything = this._everything || stale.length > FEW;
    this._stale.clear();
    this._everything = false;
    try {
      if (everything) await this._readAll();
      else await Promise.all(stale.map((id) => this._readOne(id)));
      this.error = null;
    } catch (error) {
      this.error = error;
      if (everything) this._everything = true;
    }
    this._reading = false;
    this._mark();
    // After a failure the feed's return, or the next look, tries again.
    if (!this.error && (this._stale.size || this._everything)) this._soon();
  }

  async _readAll() {
    const { sessions } = await this._api.get("api/sessions", this._ended.signal);
    this.sessions = new Map(sessions.map((session) => [session.sessionId, session]));
    for (const session of sessions) this._code(session);
    this.loaded = true;
  }

  async _readOne(id) {
    try {
      const { data } = await this._api.get(path`api/sessions/${id}`, this._ended.signal);
      this.sessions.set(id, data);
      this._code(data);
    } catch (error) {
      if (error.status !== 404) throw error;
      this.sessions.delete(id);
      this.codes.delete(id);
    }
  }

  _code(session) {
    if (session.status !== "waiting_qr") this.codes.delete(session.sessionId);
  }
}
