/** Calls to the service, with the key of whoever logged in. */

import { texts } from "./texts.js";

/** A no, or no answer at all (`status` 0). `message` says what is wrong and how to mend it. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? texts.errors.status(status));
    this.status = status;
    this.reason = problem.reason ?? "";
    this.retryAfter = problem.retryAfter ?? null;
  }
}

/** Random words for headers; not `randomUUID`, which pages served without TLS do not have. */
export function token() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Api {
  /** `lost` is told the reason when the key opens nothing any more. */
  constructor(key, lost) {
    this.key = key;
    this._lost = lost;
  }

  get(path, signal) {
    return this._json("GET", path, undefined, signal);
  }

  /** Post; the same `once` never does anything twice. */
  post(path, body = {}, signal, once) {
    return this._json("POST", path, body, signal, once);
  }

  put(path, body) {
    return this._json("PUT", path, body);
  }

  delete(path) {
    return this._json("DELETE", path);
  }

  /** Fetch bytes, for a picture or a file to save. */
  async blob(path, signal) {
    return (await this._call("GET", path, undefined, signal)).blob();
  }

  /** Post a form with a file. */
  async form(path, form, once) {
    return (await this._call("POST", path, form, undefined, once)).json();
  }

  async _json(method, path, body, signal, once) {
    return (await this._call(method, path, body, signal, once)).json();
  }

  async _call(method, path, body, signal, once = token()) {
    const headers = { "x-api-key": this.key };
    if (method === "POST") headers["Idempotency-Key"] = once;
    if (body !== undefined && !(body instanceof FormData)) {
      headers["content-type"] = "application/json";
      body = JSON.stringify(body);
    }
    let answer;
    try {
      answer = await fetch(path, { method, headers, body, signal, cache: "no-store" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Refused(0, { detail: texts.errors.unreachable });
    }
    if (answer.ok) return answer;
    const refused = new Refused(answer.status, await problem(answer));
    if (answer.status === 401) this._lost(refused.message);
    throw refused;
  }
}

async function problem(answer) {
  try {
    return await answer.json();
  } catch {
    return {};
  }
}

/** A path with its parts escaped: ids of chats and sessions come from strangers. */
export function path(strings, ...values) {
  return String.raw({ raw: strings }, ...values.map((value) => encodeURIComponent(value)));
}
