/** API keys: who may call the service, and for what. Each secret is shown once. */

import { path } from "./api.js";
import { confirm, dialog } from "./dialog.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { busy, button, copyable, empty, failed, field, heading, loading } from "./parts.js";
import { mark } from "./states.js";
import { texts } from "./texts.js";
import { clock } from "./time.js";
import { say, sentence } from "./toast.js";

const told = texts.keys;
const SCOPES = ["read", "send", "manage"];

export function keys(place, context) {
  const { api, own, signal } = context;
  if (!own.admin || !context.may("manage")) return place.append(heading(told.title), empty("keys", told.adminsOnly, told.adminsOnlyHint));
  const body = el("div", {}, loading());
  const make = async () => {
    const made = await dialog(told.create, (ended, close) => form(context, ended, close));
    if (!made) return;
    look();
    await dialog(told.made, (_, close) => [
      el("p.quiet", told.madeHint),
      copyable(made.key, told.made),
      el("footer", {}, el("button.primary", { type: "button", onclick: () => close() }, texts.common.close)),
    ]);
  };
  const create = () => el("button.primary", { type: "button", onclick: make }, icon("plus"), told.create);
  const look = async () => {
    try {
      const { keys } = await api.get("api/keys", signal);
      if (!keys.length) fill(body, empty("keys", told.empty, told.emptyHint, create()));
      else fill(body, el("ul.list", {}, ...keys.map((key) => row(api, key, look))));
    } catch (error) {
      if (!signal.aborted) fill(body, failed(error, look));
    }
  };
  place.append(heading(told.title, told.subtitle, create()), body);
  return look();
}

function row(api, key, look) {
  const revoke = async () => {
    if (!(await confirm(key.name, told.ask))) return;
    await api.delete(path`api/keys/${key.id}`);
    say(told.revoked(key.name));
    await look();
  };
  const over = key.expiresAt && Date.parse(key.expiresAt) <= Date.now();
  const good = over ? told.expired : key.expiresAt ? told.until(clock(key.expiresAt)) : told.ever;
  return el(
    "li.item",
    {},
    el("div.grow", {}, el("bdi.strong.clip.block", key.name), el("code.quiet.small", key.id)),
    el("div.grow", {}, key.admin ? mark("info", "keys", told.admin) : mark("rest", "keys", told.forUser(key.userId)), el("p.quiet.small", SCOPES.filter((scope) => key.scopes.includes(scope)).map((scope) => told.scopeShort[scope]).join(", "))),
    el("p.quiet.small", good),
    button("button.danger", told.revoke, revoke, { "aria-label": `${told.revoke} ${key.name}` }),
  );
}

function form({ api }, signal, close) {
  const plain = { autocomplete: "off", spellcheck: "false" };
  const name = el("input", { ...plain, maxlength: "100" });
  const user = el("input", { ...plain, maxlength: "64", autocapitalize: "none" });
  const expires = el("input", { type: "datetime-local" });
  const boxes = SCOPES.map((scope) => el("input", { type: "checkbox", value: scope, checked: true }));
  const said = el("p.said", { role: "alert" });
  const submit = el("button.primary", { type: "submit" }, told.submit);
  const refuse = (text) => fill(said, icon("alert"), el("span", text));
  const submitted = (event) => {
    event.preventDefault();
    const scopes = boxes.filter((box) => box.checked).map((box) => box.value);
    if (!name.value.trim()) return refuse(told.noName);
    if (!scopes.length) return refuse(told.noScope);
    return busy(submit, async () => {
      const body = { name: name.value.trim(), scopes, userId: user.value.trim() || null };
      if (expires.value) body.expiresAt = new Date(expires.value).toISOString();
      try {
        close(await api.post("api/keys", body, signal));
      } catch (error) {
        if (!signal.aborted) refuse(sentence(error));
      }
    });
  };
  return el(
    "form",
    { onsubmit: submitted },
    field(told.name, name, told.nameHint),
    field(told.user, user, told.userHint),
    el("fieldset.choices.many", {}, el("legend", told.scopes), ...boxes.map((box) => el("label", {}, box, told.scope[box.value]))),
    field(told.expires, expires, told.expiresHint),
    said,
    el("footer", {}, el("button", { type: "button", onclick: () => close() }, texts.common.cancel), submit),
  );
}
