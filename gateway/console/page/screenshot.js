/** A picture of a session's page, taken when somebody asks. */

import { path } from "./api.js";
import { el, fill } from "./dom.js";
import { button, card } from "./parts.js";
import { texts } from "./texts.js";
import { clock } from "./time.js";

const told = texts.session;

export function screenshot(context, id) {
  const place = el("div.shot");
  let address = null;
  const forget = () => address && URL.revokeObjectURL(address);
  context.signal.addEventListener("abort", forget);
  const take = button(
    "button",
    told.take,
    async () => {
      const picture = await context.api.blob(path`api/sessions/${id}/screenshot`, context.signal);
      forget();
      address = URL.createObjectURL(picture);
      const at = clock(Date.now());
      fill(place, el("img", { src: address, alt: told.shotAlt(id, at) }), el("p.quiet.small", told.taken(at)));
      take.lastChild.textContent = told.takeAgain;
    },
    { symbol: "camera" },
  );
  return el("div.full", {}, card(told.shot, el("p.quiet.small", told.shotHint), el("div.actions", {}, take), place));
}
