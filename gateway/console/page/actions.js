/** What can be done to a session, each asking first where something is lost. */

import { path } from "./api.js";
import { confirm } from "./dialog.js";
import { link } from "./link.js";
import { AT_REST } from "./states.js";
import { texts } from "./texts.js";
import { complain, say } from "./toast.js";

const told = texts.act;

/** Steer a session: `steer(context, id, "stop")`. Resolves with whether it was done. */
export async function steer(context, id, act) {
  const asked = told.ask[act];
  if (asked && !(await confirm(id, asked))) return false;
  const { api, store } = context;
  try {
    const answer = await ACTS[act].call(api, id);
    say(answer.status === "accepted" ? told.accepted(id) : ACTS[act].said(id));
    store.touch(id);
    return true;
  } catch (error) {
    complain(error);
    store.touch(id);
    return false;
  }
}

const ACTS = {
  start: { call: (api, id) => api.post(path`api/sessions/${id}/reconnect`), said: told.started },
  restart: { call: (api, id) => api.post(path`api/sessions/${id}/reconnect`), said: told.started },
  stop: { call: (api, id) => api.post(path`api/sessions/${id}/disconnect`), said: told.stopped },
  logout: { call: (api, id) => api.post(path`api/sessions/${id}/logout`), said: told.loggedOut },
  delete: { call: (api, id) => api.delete(path`api/sessions/${id}`), said: told.deleted },
  reset: { call: (api, id) => api.post(path`api/sessions/${id}/reset-breaker`), said: told.wasReset },
};

/** What makes sense for a session as it is, the most likely first: names of acts. */
export function fitting(session) {
  const { status } = session;
  if (status === "not_found") return [];
  const acts = [];
  if (!session.isAuthenticated) acts.push("link");
  if (status === "suspended" || session.breaker !== "closed") acts.push("reset");
  if (AT_REST.has(status) && session.isAuthenticated) acts.push("start");
  else if (!AT_REST.has(status)) acts.push("restart");
  if (status !== "stopped" && status !== "logged_out") acts.push("stop");
  if (status === "ready") acts.push("logout");
  acts.push("delete");
  return acts;
}

/** Do what a button of that name says. */
export function act(context, id, name) {
  return name === "link" ? link(context, id) : steer(context, id, name);
}
