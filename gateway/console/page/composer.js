/** Where a message is written: text, a file, and what it answers. */

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { texts } from "./texts.js";

const told = texts.chats;

/** Make the composer; `send` gets `{ text, file, quoted }`. */
export function composer(context, send) {
  let file = null;
  let quote = null;
  const input = el("textarea", { rows: "1", "aria-label": told.message, placeholder: told.message, maxlength: "65536", title: told.sendHint, dir: "auto" });
  const chosen = el("input.aside", { type: "file", "aria-label": told.chosen, tabindex: "-1", onchange: () => take(chosen.files[0] ?? null) });
  const above = el("div.above");
  const attach = el("button.plain", { type: "button", "aria-label": told.attach, title: told.attach, onclick: () => chosen.click() }, icon("clip"));
  const submit = el("button.primary", { type: "submit", "aria-label": told.send, title: told.sendHint }, icon("send"));
  const extra = (label, text, drop) =>
    el("div.extra", {}, el("span.quiet.small", label), el("bdi.clip.grow", text), el("button.plain", { type: "button", "aria-label": drop.label, onclick: drop.run }, icon("close")));
  const show = () =>
    fill(
      above,
      quote && extra(told.replyTo, quote.body || told.file[quote.type] || "", { label: told.noReply, run: () => ((quote = null), show(), input.focus()) }),
      file && extra(texts.bytes(file.size), file.name, { label: told.detach, run: () => take(null) }),
    );
  const take = (next) => {
    file = next;
    if (!next) chosen.value = "";
    show();
    input.focus();
  };
  const grow = () => {
    input.style.setProperty("height", "auto");
    input.style.setProperty("height", `${Math.min(160, input.scrollHeight + 2)}px`);
  };
  const submitted = (event) => {
    event.preventDefault();
    const text = input.value;
    if (!text.trim() && !file) return input.focus();
    send({ text, file, quoted: quote });
    input.value = "";
    quote = null;
    take(null);
    return grow();
  };
  input.addEventListener("input", grow);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submitted(event);
    if (event.key === "Escape" && quote) (quote = null), show();
  });
  input.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take(event.clipboardData.files[0]);
  });
  const node = el("form.composer", { onsubmit: submitted }, above, el("div.write", {}, attach, chosen, input, submit));
  return { node, quote: (one) => ((quote = one), show(), input.focus()) };
}
