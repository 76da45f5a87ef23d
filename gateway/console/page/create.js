/** Creating a session, and linking it right away. */

import { dialog } from "./dialog.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { link } from "./link.js";
import { busy, field } from "./parts.js";
import { texts } from "./texts.js";
import { sentence } from "./toast.js";

const told = texts.create;
const ID = /^[A-Za-z0-9_-]{1,64}$/;

/** Ask for the two halves of an id, create the session and show its code. */
export async function createSession(context) {
  const made = await dialog(told.title, (signal, close) => form(context, signal, close));
  if (made) await link(context, made);
}

function form({ api, own, store }, signal, close) {
  const given = { autocomplete: "off", spellcheck: "false", autocapitalize: "none", maxlength: "64", required: true };
  const user = el("input", { ...given, name: "user", value: own.userId ?? "", readonly: !own.admin });
  const bot = el("input", { ...given, name: "bot" });
  const said = el("p.said", { role: "alert" });
  const submit = el("button.primary", { type: "submit" }, told.submit);
  const refuse = (text) => fill(said, icon("alert"), el("span", text));
  const submitted = (event) => {
    event.preventDefault();
    const bad = [user, bot].find((input) => !ID.test(input.value.trim()));
    if (bad) {
      bad.focus();
      return refuse(told.bad);
    }
    return busy(submit, async () => {
      try {
        const body = { userId: user.value.trim(), plubotId: bot.value.trim() };
        const answer = await api.post("api/sessions/create", body, signal);
        store.put(answer.data);
        store.touch(answer.sessionId);
        close(answer.sessionId);
      } catch (error) {
        if (!signal.aborted) refuse(sentence(error));
      }
    });
  };
  return el(
    "form",
    { onsubmit: submitted, novalidate: true },
    el("p.quiet", told.intro),
    field(told.user, user, told.rule),
    field(told.bot, bot, told.rule),
    said,
    el("footer", {}, el("button", { type: "button", onclick: () => close() }, texts.common.cancel), submit),
  );
}
