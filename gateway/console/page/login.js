/** Where a person shows a key. */

import { Api } from "./api.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { busy, field } from "./parts.js";
import { texts } from "./texts.js";
import { sentence } from "./toast.js";

const HEADER = /^[\x21-\x7e]+$/;

/** Show the form; `enter(key, own)` is called with a key that is good. */
export function login(place, enter, why) {
  const said = el("p.said", { role: "alert" });
  const input = el("input", { type: "password", name: "key", autocomplete: "off", spellcheck: "false" });
  const submit = el("button.primary", { type: "submit" }, texts.login.submit);
  const complain = (text) => {
    fill(said, icon("alert"), el("span", text));
    input.setAttribute("aria-invalid", "true");
    input.focus();
  };
  const submitted = (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (!key) return complain(texts.login.empty);
    // What no header can carry is no key.
    if (!HEADER.test(key)) return complain(texts.login.wrong);
    return busy(submit, async () => {
      try {
        enter(key, await new Api(key, () => {}).get("api/keys/own"));
      } catch (error) {
        complain(error.status === 401 ? texts.login.wrong : sentence(error));
      }
    });
  };
  document.title = `${texts.login.title} · ${texts.product}`;
  fill(
    place,
    el(
      "main.login",
      {},
      el("div.brand", {}, el("img", { src: new URL("icon.svg", import.meta.url), alt: "", width: "40", height: "40" }), el("span", texts.product)),
      el(
        "form.card",
        { onsubmit: submitted },
        el("h1", texts.login.title),
        el("p.quiet", texts.login.intro),
        field(texts.login.key, input, texts.login.hint),
        said,
        submit,
        el("p.quiet.small", texts.login.kept),
      ),
    ),
  );
  if (why) complain(texts.login.lost(why));
  input.focus();
}
