/** A message as it stands in a conversation: what was said, its file, its receipt. */

import { el, fill, write } from "./dom.js";
import { icon, ticks } from "./icons.js";
import { button } from "./parts.js";
import { texts } from "./texts.js";
import { clock, hour } from "./time.js";

const told = texts.chats;
const EMOJI = ["👍", "❤️", "😂", "😮", "😢", "🙏"];
const SHOWN = 2_000;

export function bubble(talk, first, { reply, react, again }) {
  let one = first;
  const receipt = el("span.receipt");
  const trouble = el("p.said.small", { hidden: true });
  const reacted = el("span.reacted", { hidden: true });
  const node = el("li.bubble", { "data-own": String(Boolean(first.fromMe)) });
  const said = el(
    "div.body",
    {},
    first.author && el("bdi.author.small.clip", first.pushName ?? first.author.split("@")[0]),
    quoted(talk, first.quoted),
    attachment(talk, first),
    first.body && content(first.body),
    el("p.foot.small", {}, el("time", { datetime: first.timestamp, title: clock(first.timestamp) }, hour(first.timestamp)), receipt),
    reacted,
  );
  fill(node, said, trouble);
  if (talk.may("send") && !first.local) node.append(tools(first, reply, react));
  const update = (next) => {
    one = next;
    if (one.fromMe) show(receipt, one.ack);
    trouble.hidden = one.ack !== -1;
    if (one.ack === -1 && !trouble.childElementCount) {
      fill(trouble, icon("alert"), el("span", told.failed(one.why ?? told.ack[-1])), one.local && button("button", told.again, () => again(one)));
    } else if (one.ack !== -1) fill(trouble);
    reacted.hidden = !one.reacted;
    write(reacted, one.reacted ?? "");
  };
  update(first);
  return { node, update };
}

function show(place, ack) {
  if (place.dataset.ack === String(ack)) return;
  place.dataset.ack = ack;
  const word = told.ack[ack] ?? told.ack[0];
  const sign = ack < 0 ? icon("alert") : ack === 0 ? icon("clock") : ticks(ack);
  fill(place, sign, el("span", word));
}

/** Long texts are folded: a wall of words would push everything else away. */
function content(text) {
  if (text.length <= SHOWN) return el("p.wrap", { dir: "auto" }, text);
  const node = el("p.wrap", { dir: "auto", tabindex: "-1" }, `${text.slice(0, SHOWN)}…`);
  const more = el("button", { type: "button", onclick: () => (write(node, text), node.focus(), more.remove()) }, told.older);
  return [node, more];
}

function quoted(talk, id) {
  if (!id) return null;
  const bare = id.includes("_") ? id.split("_")[2] : id;
  const held = talk.messages.get(bare);
  if (!held) return null;
  return el("blockquote.small", { dir: "auto" }, (held.body || told.file[held.type] || "").slice(0, 200));
}

function attachment(talk, one) {
  if (one.file) return el("p.file", {}, icon("file"), el("bdi.clip", one.file.name));
  if (one.type === "chat" || !told.file[one.type]) return null;
  const kept = talk.files.get(one.messageId);
  const name = kept?.filename ?? told.file[one.type];
  const place = el("div.file", {}, icon("file"), el("div.grow", {}, el("bdi.clip.block", name), el("span.quiet.small", kept?.size ? texts.bytes(kept.size) : told.file[one.type])));
  if (["location", "vcard", "revoked"].includes(one.type)) return place;
  if (!kept?.mediaUrl) return [place, el("p.quiet.small", told.noFile)];
  const bytes = () => talk.api.blob(kept.mediaUrl.replace(/^\//, ""), talk.signal);
  place.append(button("button", told.saveFile, async () => save(await bytes(), kept.filename ?? name)));
  // Only what a picture is shown as one; anything else is saved, never opened here.
  if (/^image\/(png|jpeg|webp|gif)$/.test(kept.mimetype)) {
    const view = button("button", told.show, async () => {
      const address = URL.createObjectURL(await bytes());
      talk.signal.addEventListener("abort", () => URL.revokeObjectURL(address));
      const picture = el("img.picture", { src: address, alt: name, tabindex: "-1" });
      view.replaceWith(picture);
      picture.focus({ preventScroll: true });
    });
    return [place, view];
  }
  return place;
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = el("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function tools(one, reply, react) {
  const palette = el("div.items.emoji");
  const menu = el("details.menu", {}, el("summary", { "aria-label": told.react, title: told.react }, icon("smile")), palette);
  const close = () => {
    menu.open = false;
    menu.querySelector("summary").focus();
  };
  const choose = (emoji) => (close(), react(one, emoji));
  menu.addEventListener("toggle", () => {
    if (!menu.open) return;
    fill(palette, ...EMOJI.map((emoji) => el("button", { type: "button", "aria-label": `${told.react} ${emoji}`, onclick: () => choose(emoji) }, emoji)));
    if (one.reacted) palette.append(el("button", { type: "button", "aria-label": told.unreact, onclick: () => choose("") }, icon("close")));
  });
  menu.addEventListener("keydown", (event) => event.key === "Escape" && close());
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(event.relatedTarget)) menu.open = false;
  });
  const answer = el("button.plain", { type: "button", "aria-label": told.reply, title: told.reply, onclick: () => reply(one) }, icon("reply"));
  return el("div.tools", {}, answer, menu);
}
