/** One conversation: its messages with their receipts, and a place to write. */

import { path, token } from "./api.js";
import { bubble } from "./bubble.js";
import { composer } from "./composer.js";
import { el, fill, hide, keyed, write } from "./dom.js";
import { icon } from "./icons.js";
import { button, empty, failed, loading } from "./parts.js";
import { number } from "./people.js";
import { texts } from "./texts.js";
import { complain, say, sentence } from "./toast.js";

const told = texts.chats;
const FIRST = 50;
const MOST = 200;
const PAUSE = 300;

/** Show a conversation; `marked` is called when it was marked as read. Returns what is told how many are unread. */
export function conversation(place, context, id, chat, marked) {
  const { api, feed, signal } = context;
  const title = el("bdi.strong.clip", { tabindex: "-1", "data-start": true }, number(chat));
  const scroll = el("div.scroll", { tabindex: "0", role: "log", "aria-label": told.messages }, loading());
  const list = el("ul.bubbles");
  const older = el("button", { type: "button", hidden: true, onclick: () => ((limit = MOST), scroll.focus(), look()) }, told.older);
  const talk = { ...context, id, chat, messages: new Map(), files: new Map() };
  let limit = FIRST;
  let timer = 0;
  let pending = [];
  const show = keyed(list, (one) => one.messageId ?? one.key, (one) => bubble(talk, one, { reply: (quoted) => compose.quote(quoted), react, again }));

  // Whoever reads further up stays there; whoever is at the end sees what comes.
  const draw = () => {
    const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
    const held = [...talk.messages.values()];
    const own = pending.filter((one) => !talk.messages.has(one.sentAs));
    if (!held.length && !own.length) return fill(scroll, empty("chats", told.noMessages));
    if (list.parentNode !== scroll) fill(scroll, older, list);
    older.hidden = limit === MOST || held.length < FIRST;
    show([...held, ...own]);
    if (atEnd) scroll.scrollTop = scroll.scrollHeight;
    return list;
  };

  const look = async () => {
    timer = 0;
    try {
      const [found, past] = await Promise.all([
        api.get(`${path`api/sessions/${id}/chats/${chat}/messages`}?limit=${limit}`, signal),
        api.get(`${path`api/messages/${id}/history`}?limit=200`, signal).catch(() => ({ messages: [] })),
      ]);
      for (const one of past.messages) if (one.messageId && one.mimetype) talk.files.set(one.messageId, one);
      const named = found.messages.findLast((one) => !one.fromMe && one.pushName && !one.author);
      if (named) write(title, named.pushName);
      talk.messages = new Map(found.messages.map((one) => [one.messageId, one]));
      draw();
    } catch (error) {
      if (!signal.aborted) (talk.messages.size ? complain(error) : fill(scroll, failed(error, look)));
    }
  };
  const soon = () => (timer ||= setTimeout(look, PAUSE));
  signal.addEventListener("abort", () => clearTimeout(timer));

  // To look marks nothing: those who wrote would be told, and the phone would show nothing new.
  const read = context.may("send") && button("button", told.markRead, mark, { symbol: "check", title: told.markReadHint, hidden: true });
  async function mark() {
    await api.post(path`api/sessions/${id}/chats/${chat}/seen`);
    unread(0);
    say(told.markedRead);
    marked();
  }
  function unread(count) {
    if (!read) return;
    if (count) read.hidden = false;
    else hide(read, scroll);
  }

  feed.on(
    "frame",
    ({ session, event, payload }) => {
      if (session !== id) return;
      if (event === "message-ack") {
        // One that was only accepted learns its id from the log.
        const own = pending.find((sent) => sent.key === payload.idempotencyKey);
        if (own) own.sentAs = payload.messageId;
        const held = talk.messages.get(payload.messageId);
        if (held && payload.ack > held.ack) {
          held.ack = payload.ack;
          draw();
        } else if (!held && payload.chatId === chat) soon();
      } else if (event === "message-received" || event === "message-from-me") soon();
      else if (event === "message-failed") {
        const one = pending.find((sent) => sent.key === payload.idempotencyKey);
        if (one) fail(one, payload.reason);
      }
    },
    signal,
  );

  const fail = (one, why) => {
    one.ack = -1;
    one.why = why;
    draw();
  };

  /** Send what the composer holds; the bubble is there at once, and says how it stands. */
  const send = async ({ text, file, quoted }) => {
    const one = { key: token(), fromMe: true, body: text, type: file ? "document" : "chat", ack: 0, timestamp: new Date().toISOString(), quoted: quoted?.messageId, file, local: true };
    pending = [...pending, one];
    scroll.scrollTop = scroll.scrollHeight;
    draw();
    scroll.scrollTop = scroll.scrollHeight;
    await go(one);
  };
  const go = async (one) => {
    try {
      const { data } = await post(one);
      one.sentAs = data.messageId;
      one.ack = Math.max(0, data.ack);
      if (data.status === "queued") say(told.queued);
      draw();
      soon();
    } catch (error) {
      fail(one, sentence(error));
    }
  };
  // The key makes trying again safe: the same message is never sent twice.
  const post = (one) => {
    const where = path`api/sessions/${id}`;
    if (one.file) {
      const form = new FormData();
      form.append("to", chat);
      form.append("file", one.file);
      if (one.body) form.append("caption", one.body);
      return api.form(`${where}/messages/media`, form, one.key);
    }
    const body = { to: chat, message: one.body };
    if (one.quoted) return api.post(`${where}/messages/reply`, { ...body, messageId: one.quoted }, undefined, one.key);
    return api.post(`${where}/messages`, body, undefined, one.key);
  };
  function again(one) {
    one.ack = 0;
    one.why = null;
    draw();
    return go(one);
  }
  async function react(one, emoji) {
    try {
      await api.post(path`api/sessions/${id}/messages/reaction`, { to: chat, messageId: one.messageId, emoji });
      talk.messages.get(one.messageId).reacted = emoji;
      if (emoji) say(told.reacted(emoji));
      draw();
    } catch (error) {
      complain(error);
    }
  }

  const compose = composer(context, send);
  const back = el("a.button.plain.back", { href: `#/chats/${encodeURIComponent(id)}`, "aria-label": told.back }, icon("back"));
  place.append(el("header", {}, back, title, el("span.quiet.small.clip", number(chat)), read), scroll, context.may("send") ? compose.node : el("p.quiet.small.mute", told.mayNotSend));
  look();
  return { unread };
}
