// The page's side of a session, on top of wa-js: a function that `page.py` calls
// in every document, before the page's own scripts. What happens is told through
// the binding as JSON; what is asked comes as calls on `__wa`. Nothing here
// reaches into WhatsApp but through what wa-js exposes, since wa-js is what
// follows WhatsApp's changes; only the first code is read off the page.
(given) => {
  'use strict';
  const { origin, binding, injectDeadline, injectWaJs } = given;
  if (window !== window.top || location.origin !== origin) return;

  const out = window[binding];
  const tell = (kind, facts) => out(JSON.stringify({ kind, ...facts }));
  const told = {};
  const tellOnce = (kind, facts) => {
    const text = JSON.stringify(facts);
    if (told[kind] === text) return;
    told[kind] = text;
    tell(kind, facts);
  };

  // --- ids ------------------------------------------------------------------------

  const wa = () => WPP.whatsapp;
  const attempt = (get) => {
    try {
      return get() ?? null;
    } catch {
      return null;
    }
  };
  const bare = (wid) => (wid.device ? `${wid.user}@${wid.server}` : wid.toString());
  const phoneOf = (wid) => attempt(() => wa().lidPnCache.getPhoneNumber(wid));
  const lidOf = (wid) => attempt(() => wa().lidPnCache.getCurrentLid(wid));

  // As ids go out: the phone's, where WhatsApp knows the phone behind a LID.
  const outward = (wid) => {
    if (!wid) return null;
    const id = wid.toString();
    const phone = id.endsWith('@lid') ? phoneOf(wid) : null;
    return bare(phone ?? wid);
  };

  const me = () => attempt(() => WPP.conn.getMyUserId());
  const myLid = () => attempt(() => WPP.conn.getMyUserLid());

  // --- what is seen ---------------------------------------------------------------

  const nothing = { socket: '', mode: '', authenticated: false, identity: null };

  function status() {
    if (!window.WPP?.isInjected) return nothing;
    const authenticated = !!attempt(() => WPP.conn.isAuthenticated());
    const phone = authenticated ? me() : null;
    const lid = phone ? myLid() : null;
    return {
      socket: attempt(() => wa().Socket.state) ?? '',
      mode: attempt(() => WPP.conn.getStreamData().mode) ?? '',
      authenticated,
      identity: phone && {
        phone: bare(phone),
        lid: lid && bare(lid),
        push_name: attempt(() => wa().Conn.pushname),
      },
    };
  }

  function seen(msg) {
    const key = msg.id;
    const group = key.remote.toString().endsWith('@g.us');
    const sender = key.fromMe ? me() : (group && (msg.author ?? key.participant)) || msg.from;
    return {
      wa_id: key.id,
      key: key.toString(),
      chat: outward(key.remote),
      sender: outward(sender ?? key.remote),
      author: group ? outward(sender) : null,
      from_me: !!key.fromMe,
      kind: msg.type ?? 'unknown',
      body: msg.type === 'chat' ? (msg.body ?? '') : (msg.caption ?? ''),
      at: msg.t,
      ack: msg.ack ?? 0,
      push_name: msg.notifyName || null,
      quoted: msg.quotedStanzaID || null,
      media: media(msg),
    };
  }

  const MEDIA = ['image', 'video', 'audio', 'ptt', 'ptv', 'document', 'sticker'];

  // WhatsApp's hash of the file is base64; null where the message does not tell.
  const hex = (base64) =>
    attempt(() => [...atob(base64)].map((byte) => byte.charCodeAt(0).toString(16).padStart(2, '0')).join(''));

  function media(msg) {
    if (!MEDIA.includes(msg.type)) return null;
    const about = (name) => msg[name] ?? attempt(() => msg.mediaData[name]);
    const hash = about('filehash');
    return {
      mime: about('mimetype') || 'application/octet-stream',
      name: about('filename') || null,
      size: about('size'),
      sha256: hash ? hex(hash) : null,
    };
  }

  function tellState() {
    const now = status();
    tellOnce('state', { status: now });
    if (!now.authenticated || now.mode === 'QR' || now.mode === 'MAIN') return;
    const percent = attempt(() => WPP.conn.getHistorySyncProgress().progress) ?? 0;
    const message = attempt(() => WPP.conn.getStreamData().info) || now.mode;
    tellOnce('loading', { percent: Math.min(Math.round(percent), 100), message });
  }

  function tellQr(code) {
    if (!code) return;
    tellOnce('qr', { code: code.fullCode, ttl: attempt(() => wa().Conn.refTTL) || 20 });
  }

  function tellAck(msg) {
    if (!msg.id?.fromMe) return;
    const { wa_id, key, chat, ack } = seen(msg);
    tell('ack', { wa_id, key, chat, ack });
  }

  // A receipt of a message that is not in memory, as after a restart: WhatsApp
  // moves nothing that could be heard, but wa-js tells. Group receipts are per
  // member there and say nothing of the message as a whole.
  function tellReceipt({ ack, chat, ids }) {
    if (ack < 2 || chat.toString().endsWith('@g.us')) return;
    for (const key of ids) {
      if (wa().MsgStore.get(key)) continue;
      tell('ack', { wa_id: key.id, key: key.toString(), chat: outward(chat), ack });
    }
  }

  // The page paints its first code about a second before wa-js answers: what the
  // user is to scan is in the attribute, as it has been for years. Only the first
  // is taken from there, only if it has a code's parts (reference and three keys), and
  // only once wa-js has a page to work on. If not, wa-js tells it all the same.
  function tellPainted() {
    const ref = document.querySelector('[data-ref]')?.dataset.ref;
    if (!ref || ref.split(',').length < 4 || !registered()) return;
    painting.disconnect();
    tellOnce('qr', { code: ref, ttl: SHORTEST_TTL, painted: true });
  }

  const SHORTEST_TTL = 20; // seconds; wa-js tells how long it is
  const painting = new MutationObserver(tellPainted);
  painting.observe(document, { subtree: true, childList: true, attributeFilter: ['data-ref'] });

  let logoutReason = '';

  // First hear, then look: a page that is fast would be missed by listening alone.
  function subscribe() {
    painting.disconnect();
    isSubscribed = true;
    subscribed();
    const { Socket, Stream, Conn, MsgStore } = wa();
    Socket.on('change:state', tellState);
    Stream.on('change:mode', tellState);
    Stream.on('change:info', tellState);
    Conn.on('change:pushname', tellState);
    Conn.on('change:wid', tellState);
    MsgStore.on('change:ack', tellAck);
    for (const name of ['authenticated', 'main_loaded', 'main_ready']) WPP.on(`conn.${name}`, tellState);
    WPP.on('conn.auth_code_change', tellQr);
    WPP.on('conn.qrcode_idle', () => tell('qr_idle', {}));
    WPP.on('conn.logout_reason', (reason) => (logoutReason = String(reason ?? '')));
    WPP.on('conn.logout', () => tell('logged_out', { reason: logoutReason }));
    // What cannot be decrypted yet is told again, with its type, as soon as it can.
    WPP.on('chat.new_message', (msg) => msg.type === 'ciphertext' || tell('message', { message: seen(msg) }));
    WPP.on('chat.msg_ack_change', tellReceipt);

    tellState();
    WPP.conn.getAuthCode().then(tellQr, () => null);
    if (WPP.conn.isIdle()) tell('qr_idle', {});
  }

  // --- what is asked --------------------------------------------------------------

  class Refused extends Error {
    constructor(reason) {
      super(reason);
      this.reason = reason;
    }
  }

  // Every address of a chat: a contact lives under its phone or under its LID.
  function addresses(id) {
    const wid = WPP.util.createWid(id);
    if (!/@(c\.us|lid)$/.test(id)) return [wid];
    const other = wid.isLid() ? phoneOf(wid) : lidOf(wid);
    return other ? [wid, other] : [wid];
  }

  function known(id) {
    for (const wid of addresses(id)) {
      const chat = WPP.chat.get(wid);
      if (chat) return chat;
    }
    return null;
  }

  async function chatToWrite(id) {
    const chat = known(id);
    if (chat) return chat;
    if (/@(c\.us|lid)$/.test(id)) {
      const found = await WPP.contact.queryWidExists(id);
      // wa-js answers null for a failed question as well: only a page that is
      // connected may say that a number is not there.
      if (!found && wa().Socket.state === 'CONNECTED') throw new Refused('not_on_whatsapp');
      return await WPP.chat.find(found?.wid ?? id);
    }
    try {
      return await WPP.chat.find(id);
    } catch {
      throw new Refused('chat_not_found');
    }
  }

  // wa-js refuses a key whose remote is not the chat's own id.
  function ownKeys(wid, id) {
    const from = me();
    const authors = wid.isGroup() ? [myLid(), from].filter(Boolean) : [undefined];
    return authors.map(
      (participant) => new (wa().MsgKey)({ from: participant ?? from, to: wid, id, participant, selfDir: 'out' })
    );
  }

  // By its bare id: whatever address it went to, it is the same message.
  const inMemory = (id) =>
    wa().MsgStore.getModelsArray().find((msg) => msg.id.id === id && msg.id.fromMe) ?? null;

  async function find(to, id) {
    const msg = inMemory(id);
    if (msg) return msg;
    for (const wid of addresses(to)) {
      if (!WPP.chat.get(wid)) continue;
      for (const key of ownKeys(wid, id)) {
        const kept = await stored(key);
        if (kept) return kept;
      }
    }
    return null;
  }

  async function stored(key) {
    try {
      return (await WPP.chat.getMessageById(key)) ?? null;
    } catch (error) {
      if (error?.code === 'msg_not_found' || error?.code === 'chat_not_found') return null;
      throw error;
    }
  }

  const FINAL = ['ERROR_EXPIRED', 'ERROR_CANCELLED', 'ERROR_UPLOAD'];

  // Sending the same id again is harmless: what is in memory already is waited for,
  // and the server takes an id once. Looking into the page's storage as well, before
  // every message, is for `find`.
  async function send(to, parcel, id, deadline) {
    const { content } = parcel;
    if (content?.type === 'reaction') return await react(to, content, id);
    if (content?.type === 'deletion') return await revoke(to, content, id, deadline);
    const chat = await chatToWrite(to);
    const before = inMemory(id);
    if (before?.ack >= 1) return seen(before);

    const { MsgStore } = wa();
    const key = before?.id ?? ownKeys(chat.id, id)[0];
    const quotedMsg = parcel.quoted ? (await target(to, parcel.quoted)).id : undefined;
    const options = {
      messageId: key,
      waitForAck: true,
      linkPreview: false, // asks servers of third parties
      detectMentioned: false, // "@all" in a text must not call everyone
      markIsRead: false,
      ...(quotedMsg && { quotedMsg }),
    };
    return await new Promise((resolve, reject) => {
      const hear = (msg) => msg.id?.id === id && msg.id.fromMe && msg.ack >= 1 && end(resolve, seen(msg));
      const timer = setTimeout(() => end(resolve, null), deadline);
      const end = (settle, value) => {
        clearTimeout(timer);
        MsgStore.off('change:ack', hear);
        settle(value);
      };
      MsgStore.on('change:ack', hear);
      // Unacknowledged and not failed: WhatsApp Web sends it by itself.
      if (before && before.ack >= 0) return;
      handOver(chat, parcel, options)
        .then(
          ({ sendMsgResult }) => {
            const result = sendMsgResult?.messageSendResult;
            const msg = MsgStore.get(key);
            if (msg?.ack >= 1) end(resolve, seen(msg));
            // Other errors say nothing of what the server took, and while WhatsApp
            // does not show the message as failed, it tries again: wait on.
            else if (FINAL.includes(result) || (result === 'ERROR_UNKNOWN' && msg?.ack < 0)) {
              end(reject, new Refused('rejected'));
            }
          },
          // Thrown before it was in the page, nothing was sent; after that, nobody knows.
          (error) => MsgStore.get(key) || end(reject, error)
        );
    });
  }

  function handOver(chat, { body, content, attachment }, options) {
    switch (content?.type) {
      case undefined:
        return WPP.chat.sendTextMessage(chat.id, body, options);
      case 'location': {
        const { latitude: lat, longitude: lng, name, address } = content;
        return WPP.chat.sendLocationMessage(chat.id, { ...options, lat, lng, name, address });
      }
      case 'contact':
        return WPP.chat.sendVCardContactMessage(chat.id, { id: content.phone, name: content.name }, options);
      case 'media': {
        const { kind, mime, name } = content;
        const voice = kind === 'voice';
        return WPP.chat.sendFileMessage(chat.id, file(attachment, mime, name), {
          ...options,
          type: voice ? 'audio' : kind,
          isPtt: voice,
          mimetype: mime,
          filename: name ?? undefined,
          caption: body || undefined,
        });
      }
      default:
        throw new Error('unknown content');
    }
  }

  // The message that a reply, a reaction or a deletion is about, by its bare or its full id.
  async function target(to, id) {
    for (const msg of wa().MsgStore.getModelsArray()) {
      if (msg.id.id === id || msg.id.toString() === id) return msg;
    }
    const chat = known(to);
    if (id.includes('_')) {
      const msg = await stored(id);
      if (msg) return msg;
    } else if (chat) {
      const is = (msg) => msg.id.id === id;
      const all = await history(chat, (pages) => pages.some(is) || pages.length >= FAR);
      const msg = all.find(is);
      if (msg) return msg;
    }
    throw new Refused('message_not_found');
  }

  // How far back a bare id is looked for, in messages of its chat.
  const FAR = 1000;

  // Neither a reaction nor a deletion is a message with an id that could be chosen,
  // but each done twice is done once.
  const about = (msg, id) => ({
    ...seen(msg),
    wa_id: id,
    from_me: true,
    ack: Math.max(msg.ack ?? 0, 1),
    at: Math.floor(Date.now() / 1000),
  });

  async function react(to, { target: on, emoji }, id) {
    const msg = await target(to, on);
    const { sendMsgResult } = await WPP.chat.sendReactionToMessage(msg.id, emoji || null);
    const result = sendMsgResult?.messageSendResult ?? sendMsgResult;
    // Unknown is not a failure: it is done again.
    return typeof result === 'string' && result !== 'OK' ? null : about(msg, id);
  }

  async function revoke(to, { target: on }, id, deadline) {
    const msg = await target(to, on);
    if (msg.type === 'revoked') return about(msg, id);
    if (!msg.id.fromMe && !msg.id.remote.isGroup()) throw new Refused('cannot_delete');
    await WPP.chat.deleteMessage(msg.id.remote, msg.id.toString(), false, true);
    // wa-js asks for it and does not wait: done is what the page shows.
    const until = Date.now() + deadline;
    while (msg.type !== 'revoked') {
      if (Date.now() > until) return null;
      await new Promise((again) => setTimeout(again, 50));
    }
    return about(msg, id);
  }

  // --- bytes, in parts: one frame of the protocol should not hold a whole file ------

  const parts = new Map();
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

  function file(token, mime, name) {
    const held = parts.get(token);
    parts.delete(token);
    // The name decides nothing for WhatsApp but what is shown.
    return new File(held ?? [], name || 'file', { type: mime });
  }

  async function open(id, largest) {
    const is = (msg) => msg.id.id === id || msg.id.toString() === id;
    const msg = wa().MsgStore.getModelsArray().find(is) ?? (id.includes('_') ? await stored(id) : null);
    const told = msg && media(msg);
    if (!told) return { failed: 'not_found' };
    if (told.size > largest) return { failed: 'too_large' };
    let blob;
    try {
      blob = await WPP.chat.downloadMedia(msg.id.toString());
    } catch (error) {
      // A page without a connection says the same of what is there.
      if (wa().Socket.state !== 'CONNECTED') throw error;
      return { failed: 'not_found' };
    }
    if (blob.size > largest) return { failed: 'too_large' };
    const token = crypto.randomUUID();
    parts.set(token, [blob]);
    return { token, size: blob.size, mime: told.mime, name: told.name };
  }

  const base64 = (blob) =>
    new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(blob);
    });

  const PAGE = 50;

  // The messages of a chat, oldest first: pages from the newest back, until those
  // are `enough`, and what is in memory. wa-js starts at the last one received, so
  // what we wrote after it is only in memory.
  async function history(chat, enough) {
    let read = new Map();
    let oldest;
    for (;;) {
      const before = read.size;
      const options = oldest ? { count: PAGE, direction: 'before', id: oldest } : { count: PAGE };
      const page = await WPP.chat.getMessages(chat.id, options);
      // The older page goes first: within one second only its place tells the order.
      read = new Map([...page.filter((msg) => msg.id).map((msg) => [msg.id.toString(), msg]), ...read]);
      const pages = byTime(read);
      if (read.size === before || enough(pages)) break;
      oldest = pages[0].id.toString();
    }
    for (const msg of chat.msgs.getModelsArray()) read.set(msg.id.toString(), msg);
    return byTime(read);
  }

  const byTime = (msgs) => [...msgs.values()].sort((a, b) => a.t - b.t);
  const received = (msgs) => msgs.filter((msg) => !msg.id.fromMe);
  const readable = (msg) => msg.type !== 'ciphertext' && typeof msg.t === 'number';

  // A message that cannot be described must not cost the others theirs: null, which is counted.
  const described = (msgs) => msgs.map((msg) => attempt(() => seen(msg)));

  // Read at once and handed out in portions: there may be tens of thousands.
  let caughtUp = [];

  async function since(at) {
    const found = [];
    for (const chat of wa().ChatStore.getModelsArray()) {
      if (at === null) {
        if (chat.unreadCount > 0) {
          const all = await history(chat, (pages) => received(pages).length >= chat.unreadCount);
          found.push(...received(all).slice(-chat.unreadCount));
        }
      } else if (chat.t >= at) {
        const all = await history(chat, (pages) => pages[0].t < at);
        found.push(...all.filter((msg) => msg.t >= at));
      }
    }
    found.sort((a, b) => a.t - b.t);
    caughtUp = found.filter(readable);
    return caughtUp.length;
  }

  function portion(from, to) {
    const msgs = caughtUp.slice(from, to);
    if (to >= caughtUp.length) caughtUp = [];
    return described(msgs);
  }

  const calls = {
    status: async () => status(),

    send,

    find: async (to, id) => {
      const msg = await find(to, id);
      return msg && seen(msg);
    },

    since,
    portion: async (from, to) => portion(from, to),

    put: async (token, part) => {
      const held = parts.get(token) ?? [];
      held.push(bytesOf(part));
      parts.set(token, held);
    },
    open,
    take: async (token, from, to) => await base64(parts.get(token)[0].slice(from, to)),
    drop: async (token) => void parts.delete(token),

    messages: async (id, limit) => {
      const chat = known(id);
      if (!chat) return [];
      const all = await history(chat, (pages) => pages.length >= limit);
      return described(all.filter(readable).slice(-limit));
    },

    chats: async () => {
      const chats = wa().ChatStore.getModelsArray().map((chat) => ({
        id: outward(chat.id),
        name: chat.name || chat.formattedTitle || attempt(() => chat.contact.pushname) || null,
        unread: Math.max(chat.unreadCount ?? 0, 0),
        group: chat.id.isGroup(),
        at: Math.max(...chat.msgs.getModelsArray().map((msg) => msg.t ?? 0), 0) || chat.t || null,
      }));
      return chats.sort((a, b) => (b.at ?? 0) - (a.at ?? 0));
    },

    checkNumber: async (id) => {
      const found = await WPP.contact.queryWidExists(id);
      if (!found && wa().Socket.state !== 'CONNECTED') throw new Error('not connected');
      return found && outward(found.wid);
    },

    // Members are asked for by WhatsApp itself when a group is opened; until then a
    // group in the list may be without them.
    groups: async () => {
      const groups = wa().ChatStore.getModelsArray().filter((chat) => chat.id.isGroup());
      const found = groups.map((chat) => ({
        id: bare(chat.id),
        name: attempt(() => chat.groupMetadata.subject) || chat.name || chat.formattedTitle || null,
        members: attempt(() => chat.groupMetadata.participants.getModelsArray().map((one) => outward(one.id))) ?? [],
      }));
      return found.sort((a, b) => (a.id < b.id ? -1 : 1));
    },

    addresses: async (id) => {
      const wid = WPP.util.createWid(id);
      // A phone whose LID this page has not met yet: WhatsApp tells it with the answer.
      if (!wid.isLid() && !lidOf(wid)) await WPP.contact.queryWidExists(id);
      const [phone, lid] = wid.isLid() ? [phoneOf(wid), wid] : [wid, lidOf(wid)];
      return { phone: phone && bare(phone), lid: lid && bare(lid) };
    },

    markSeen: async (id) => {
      const chat = known(id);
      if (chat) await WPP.chat.markIsRead(chat.id);
    },

    setTyping: async (id, typing) => {
      const chat = known(id);
      if (!chat) return;
      await (typing ? WPP.chat.markIsComposing(chat.id) : WPP.chat.markIsPaused(chat.id));
    },

    refreshQr: async () => {
      if (WPP.conn.isAuthenticated()) throw new Error('already linked');
      told.qr = undefined;
      await WPP.conn.refreshQR();
    },

    pairingCode: async (phone) => await WPP.conn.genLinkDeviceCodeForPhoneNumber(phone),

    takeOver: async () => {
      await wa().Socket.takeover();
    },

    logOut: async () => {
      await WPP.conn.logout();
    },
  };

  const UNLINKED = ['status', 'refreshQr', 'pairingCode'];

  // Whoever sees a painted code may ask for something before wa-js is there.
  const SOON = 5000;
  let isSubscribed = false;
  let subscribed;
  const subscription = new Promise((resolve) => (subscribed = resolve));
  const untilSubscribed = () => Promise.race([subscription, new Promise((late) => setTimeout(late, SOON))]);

  function notNow(name) {
    if (name === 'status') return null;
    const { mode, authenticated } = status();
    if (!mode) return 'not_ready';
    if (!authenticated && !UNLINKED.includes(name)) return 'not_linked';
    // What is sent while it synchronises could be a repeat of what is not there yet.
    return name === 'send' && mode !== 'MAIN' ? 'not_ready' : null;
  }

  // One shape for every answer; errors go out by name and without numbers in them.
  const answering =
    (name, call) =>
    async (...args) => {
      if (!isSubscribed && told.qr && name !== 'status') await untilSubscribed();
      const failed = notNow(name);
      if (failed) return { failed };
      try {
        return { value: (await call(...args)) ?? null };
      } catch (error) {
        if (error instanceof Refused) return { refused: error.reason };
        const word = String(error?.code ?? error?.name ?? 'error');
        return { failed: word, detail: String(error?.message ?? '').replace(/\d{5,}/g, '…') };
      }
    };

  const api = Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, answering(name, call)]));
  Object.defineProperty(window, '__wa', { value: Object.freeze(api) });

  // --- injection ------------------------------------------------------------------

  // wa-js looks for WhatsApp's modules once; injected into a page that has not
  // registered them yet it stays dead. So it is held back until they are there.
  const CORE = [
    'WAWebSocketModel',
    'WAWebStreamModel',
    'WAWebConnModel',
    'WAWebCmd',
    'WAWebMsgCollection',
    'WAWebChatCollection',
    'WAWebUserPrefsMeUser',
  ];
  const registered = () =>
    attempt(() => {
      const modules = window.require('__debug').modulesMap;
      return CORE.every((name) => name in modules);
    });

  window.WPPConfig = { disableGoogleAnalytics: true, deviceName: false };
  tell('loading', { percent: 0, message: 'PAGE' });

  const start = Date.now();
  const timer = setInterval(() => {
    if (registered()) {
      clearInterval(timer);
      tellPainted();
      injectWaJs();
      WPP.isInjected ? subscribe() : WPP.loader.onInjected(subscribe);
    } else if (Date.now() - start > injectDeadline) {
      clearInterval(timer);
      tell('loading', { percent: 0, message: 'NO_MODULES' });
    }
  }, 50);
};
