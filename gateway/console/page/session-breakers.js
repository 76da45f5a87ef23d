/** The breakers of one session, with when they probe and a way to close them. */

import { steer } from "./actions.js";
import { el, fill } from "./dom.js";
import { button, card, failed, loading } from "./parts.js";
import { mark } from "./states.js";
import { texts } from "./texts.js";
import { eachSecond, every, until, within } from "./time.js";

const told = texts.session;
const NEWS = 5;
const LOOKS = { closed: ["good", "check"], half_open: ["wait", "retry"], open: ["bad", "alert"] };

export function breakers(context, id) {
  const place = el("div", {}, loading());
  let life = within(context.signal);
  let shown = "";
  const look = async () => {
    try {
      const answer = await context.api.get("api/breakers", context.signal);
      const own = answer.breakers.filter((one) => one.sessionId === id);
      const now = JSON.stringify(own);
      if (now === shown) return;
      shown = now;
      life.end();
      life = within(context.signal);
      const open = own.some((one) => one.state !== "closed");
      const reset = open && context.may("manage") && button("button.primary", texts.act.reset, () => steer(context, id, "reset"));
      fill(place, el("ul.rows", {}, ...own.map((one) => row(one, life.signal))), reset);
    } catch (error) {
      if (!context.signal.aborted) fill(place, failed(error, look));
      shown = "";
    }
  };
  every(NEWS, look, context.signal);
  let state = "";
  const update = (held) => {
    if (held.breaker !== state) look();
    state = held.breaker;
  };
  return { node: card(told.breakers, place), update };
}

function row(one, signal) {
  const due = el("span.countdown.small");
  if (one.state === "open" && one.nextAttempt) eachSecond(() => fill(due, told.breakerDue(until(one.nextAttempt))), signal);
  return el(
    "li",
    {},
    el("div.grow", {}, el("p.strong", told.breaker[one.type]), el("p.quiet.small", told.breakerSays(one))),
    el("div.end", {}, mark(...LOOKS[one.state], told.breakerState[one.state]), due),
  );
}
