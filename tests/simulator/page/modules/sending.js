/* Sending. A message is kept with ack 0 before it goes out, and the outbox sends it again
 * after every reconnect or restart until the server has acknowledged it. */
(function () {
  'use strict';

  __d('WAWebE2EProtoGenerator', (exports) => { exports.createMsgProtobuf = (data) => ({ conversation: data.body }); });
  __d('WAWebBackendJobsCommon', (exports) => { exports.mediaTypeFromProtobuf = () => null; });
  __d('WAWebE2EProtoUtils', (exports) => { exports.typeAttributeFromProtobuf = () => 'text'; });

  /* What a message says besides its text. */
  const CARRIED = ['mimetype', 'filehash', 'filename', 'size', 'directPath', 'quotedStanzaID', 'lat', 'lng', 'loc',
    'vcardFormattedName'];

  /* The wire: resolves with the server's acknowledgement. Client libraries wrap it. */
  __d('WAWebSendMsgJob', (exports) => {
    exports.encryptAndSendMsg = async ({ data }) => {
      if (data.blob && !data.directPath) data.directPath = await importNamespace('SimMedia').upload(data.blob);
      const more = {};
      for (const name of CARRIED) if (data[name] !== undefined && data[name] !== null) more[name] = data[name];
      return importNamespace('SimWire').call({
        t: 'msg', id: data.id.id, to: String(data.to), body: data.body || data.caption || '', type: data.type, more,
      });
    };
    exports.encryptAndSendStatusMsg = async () => {};
  });

  __d('SimOutbox', (exports) => {
    const messages = importNamespace('SimMessages');
    const waiting = new Map();  // message key -> resolve; kept over reconnects
    const inFlight = new Set(); // message keys on the present connection
    let open = false;

    async function attempt(message) {
      const key = String(message.id);
      if (!open || inFlight.has(key)) return;
      inFlight.add(key);
      const result = await outcome(message);
      if (!result) return; // the connection went: the outbox tries again on the next one
      inFlight.delete(key);
      settle(key, result);
    }

    function settle(key, result) {
      const resolve = waiting.get(key);
      waiting.delete(key);
      if (resolve) resolve(result);
    }

    const taken = (message) => ({ messageSendResult: 'OK', t: message.t, count: null, messageId: message.id.id });

    // The answer may be lost while a later receipt comes through: then it was taken, too.
    importNamespace('WAWebCollections').Msg.on('change:ack', (message, ack) => {
      if (ack > 0) settle(String(message.id), taken(message));
    });

    async function outcome(message) {
      try {
        await importNamespace('WAWebSendMsgJob').encryptAndSendMsg({ data: message });
        message.updateAck(1);
        return taken(message);
      } catch (error) {
        if (error.name === 'WireClosed') return null;
        message.updateAck(-1);
        return { messageSendResult: 'ERROR_UNKNOWN', error: error.message };
      }
    }

    exports.send = (message) => new Promise((resolve) => {
      waiting.set(String(message.id), resolve);
      attempt(message);
    });
    exports.opened = () => {
      open = true;
      messages.unsent().forEach(attempt);
    };
    exports.closed = () => {
      open = false;
      inFlight.clear();
    };
  });

  __d('WAWebSendMsgChatAction', (exports) => {
    const messages = importNamespace('SimMessages');

    /* Two promises: the message as shown, and what became of it. */
    exports.addAndSendMsgToChat = (chat, data) => {
      const shown = (async () => {
        await messages.keep([data]);
        return messages.show(chat, data);
      })();
      const sent = shown.then((message) => importNamespace('SimOutbox').send(message));
      return [shown, sent];
    };
  });

  __d('WAWebSendTextMsgChatAction', (exports) => {
    exports.sendTextMsgToChat = async (chat, body) => {
      const me = importNamespace('WAWebUserPrefsMeUser');
      const MsgKey = importDefault('WAWebMsgKey');
      const from = chat.id.isLid() || chat.id.isGroup() ? me.getMeLidUserOrThrow() : me.getMePnUserOrThrow();
      const id = new MsgKey({
        from, to: chat.id, id: await MsgKey.newId(), selfDir: 'out', participant: chat.id.isGroup() ? from : undefined,
      });
      const t = importNamespace('WATimeUtils').unixTime();
      const data = { id, body, type: 'chat', t, from, to: chat.id, ack: 0, self: 'out', local: true, isNewMsg: true };
      return importNamespace('WAWebSendMsgChatAction').addAndSendMsgToChat(chat, data)[1];
    };
  });

  __d('WAWebLinkPreviewChatAction', (exports) => { exports.getLinkPreview = async () => null; });
  __d('WAWebMinimalLinkPreview', (exports) => { exports.genMinimalLinkPreview = async () => null; });
})();
