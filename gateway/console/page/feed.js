/** The live feed: one socket for the whole console, which comes back by itself where it was. */

const FIRST = 500;
const LONGEST = 15_000;
const KEPT = 1_000;

/**
 * States: "connecting" at first, "live", and "cut" with `since` and `due`, the time of the
 * next try. Listeners of "frame" get each event once, listeners of "state" each change.
 */
export class Feed extends EventTarget {
  constructor(api) {
    super();
    this._api = api;
    this._over = false;
    this._delay = FIRST;
    this._timer = 0;
    this._socket = null;
    this.position = null;
    this.state = "connecting";
    this.since = Date.now();
    this.due = null;
    this.count = 0;
    this._recent = [];
    this._offline = () => this._socket?.close();
    this._online = () => this.now();
    addEventListener("offline", this._offline);
    addEventListener("online", this._online);
    this._open();
  }

  /** Listen to frames or states until a view is left. */
  on(name, listener, signal) {
    this.addEventListener(name, (event) => listener(event.detail), { signal });
  }

  /** The newest frames, oldest first, of those that came after so many. */
  after(count) {
    return this._recent.filter((frame) => frame.number > count).slice(-KEPT);
  }

  /** Try again at once. */
  now() {
    if (this.state === "cut") {
      clearTimeout(this._timer);
      this._open();
    }
  }

  /** Hang up for good. */
  close() {
    this._over = true;
    clearTimeout(this._timer);
    removeEventListener("offline", this._offline);
    removeEventListener("online", this._online);
    this._socket?.close();
  }

  _open() {
    const place = new URL("ws", document.baseURI);
    place.protocol = place.protocol.replace("http", "ws");
    const asked = { session: "*", events: "*", api_key: this._api.key };
    if (this.position !== null) asked.since = this.position;
    place.search = new URLSearchParams(asked);
    const socket = (this._socket = new WebSocket(place));
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this._delay = FIRST;
      this._be("live", null);
    };
    socket.onmessage = (message) => this._take(JSON.parse(message.data));
    socket.onclose = (closed) => {
      if (this._over || socket !== this._socket) return;
      // A handshake that was refused does not say why; a plain request does.
      if (!opened || closed.code === 1008) this._api.get("api/keys/own").catch(() => {});
      this._wait();
    };
  }

  _wait() {
    const delay = this._delay * (0.75 + Math.random() / 2);
    this._delay = Math.min(this._delay * 2, LONGEST);
    this._be("cut", Date.now() + delay);
    this._timer = setTimeout(() => this._open(), delay);
  }

  _be(state, due) {
    if (state !== this.state) this.since = Date.now();
    this.state = state;
    this.due = due;
    this._tell("state", state);
  }

  _take(frame) {
    if (frame.position !== null) this.position = frame.position;
    // After a gap of another log its own positions count.
    if (frame.event === "gap" && frame.payload.reason === "unknown_position") this.position = null;
    frame.number = ++this.count;
    this._recent.push(frame);
    if (this._recent.length > 2 * KEPT) this._recent = this._recent.slice(-KEPT);
    this._tell("frame", frame);
  }

  _tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
