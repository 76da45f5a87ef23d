/* Messages: the model, the collection of all of them, and their copies in IndexedDB. */
(function () {
  'use strict';

  __d('WAWebMsgModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    class Msg extends BaseModel {
      /* Receipts may come out of order; an ack never goes back, except into failure. */
      updateAck(ack) {
        if (ack > this.ack || ack < 0) this.ack = ack;
      }
      get isUserMsg() { return true; }
      get senderObj() {
        const sender = this.id.fromMe ? importNamespace('WAWebUserPrefsMeUser').getMePnUserOrThrow() : this.author || this.from;
        return { id: sender, isMe: this.id.fromMe };
      }
      /* What is known of the file this message carries: one object for life, as in the real
       * page, which has the bytes (`mediaBlob`) once they are here. */
      get mediaData() {
        if (!importNamespace('SimMedia').TYPES.includes(this.type)) return undefined;
        if (!this.$media) {
          const { mimetype, filehash, filename, size, blob } = this.$attributes;
          const mediaBlob = blob && importNamespace('WAWebMediaPrep').opaqueOf(blob);
          const value = { mimetype, filehash, filename, size, type: this.type, mediaBlob };
          Object.defineProperty(this, '$media', { value });
        }
        return this.$media;
      }
      async downloadMedia() {
        const blob = await importNamespace('SimMedia').download(this.directPath);
        this.mediaData.mediaBlob = importNamespace('WAWebMediaPrep').opaqueOf(blob);
      }
      avParams() { return {}; }
      msgContextInfo() { return { quotedStanzaID: this.id.id, quotedMsg: this }; }
    }
    exports.default = defineModel(Msg, 'msg',
      [
        'id', 'body', 'type', 'subtype', 't', 'rank', 'from', 'to', 'author', 'ack', 'isNewMsg', 'notifyName',
        'star', 'self', 'local', 'kind', 'caption', 'mentionedJidList', 'latestEditMsgKey', 'quotedStanzaID',
        'isEphemeral', 'isStatusV3', 'isUnsentMedia', 'links', 'mediaObject', 'pendingAckUpdate', 'mimetype', 'filehash',
        'filename', 'size', 'directPath', 'lat', 'lng', 'loc', 'vcardFormattedName',
      ]);
  });

  __d('WAWebMsgCollection', (exports) => {
    const { BaseCollection } = importNamespace('WAWebBaseCollection');
    class MsgCollection extends BaseCollection {
      /* What arrives, in order. wa-js wraps this to see revocations. */
      async processMultipleMessages(chatId, messages) {
        const chat = importNamespace('SimChats').make(chatId);
        await importNamespace('SimMessages').keep(messages);
        return messages.map((message) => importNamespace('SimMessages').show(chat, message));
      }
      async getMessagesById(ids) { return { messages: this.where(ids) }; }
      async search() { return { messages: [] }; }
    }
    exports.MsgCollectionImpl = MsgCollection;
    exports.MsgCollection = new MsgCollection(importDefault('WAWebMsgModel'));
  });

  /* A message is kept first and shown second: what a client library has seen survives a crash. */
  __d('SimMessages', (exports) => {
    const { Msg, Chat } = importNamespace('WAWebCollections');
    const { createWid } = importNamespace('WAWebWidFactory');
    const Wid = importDefault('WAWebWid');
    const MsgKey = importDefault('WAWebMsgKey');
    const database = importNamespace('SimDatabase');

    // Order within one second, across restarts.
    let lastRank = 0;
    const nextRank = () => (lastRank = Math.max(Date.now() * 1000, lastRank + 1));

    const plainValue = (value) => {
      if (value instanceof MsgKey) return { $key: String(value) };
      if (value instanceof Wid) return { $wid: String(value) };
      return Array.isArray(value) ? value.map(plainValue) : value;
    };
    const revivedValue = (value) => {
      if (value && value.$key) return MsgKey.fromString(value.$key);
      if (value && value.$wid) return createWid(value.$wid);
      return Array.isArray(value) ? value.map(revivedValue) : value;
    };
    const storable = (value) => typeof value !== 'function' && !(value && value.serialize);
    const transform = (attributes, change) => Object.fromEntries(
      Object.entries(attributes).filter(([, value]) => storable(value)).map(([name, value]) => [name, change(value)]));
    const row = (attributes) => ({ id: String(attributes.id), attributes: transform(attributes, plainValue) });

    exports.keep = (messages) => {
      for (const message of messages) message.rank = message.rank || nextRank();
      return database.messages.putAll(messages.map(row));
    };

    exports.show = (chat, attributes) => {
      const present = Msg.get(attributes.id);
      if (present) return present; // delivered again because our receipt was lost
      const message = Msg.add(attributes);
      chat.msgs.add(message);
      if (!chat.t || message.t >= chat.t) chat.t = message.t;
      const last = chat.lastReceivedKey && Msg.get(chat.lastReceivedKey);
      if (!last || inOrder(last, message) < 0) chat.lastReceivedKey = message.id;
      if (message.isNewMsg && !message.id.fromMe) chat.unreadCount = Math.max(0, chat.unreadCount) + 1;
      return message;
    };

    const inOrder = (a, b) => a.t - b.t || a.rank - b.rank;
    exports.ofChat = (chatId) => {
      const chat = Chat.get(chatId);
      return chat ? chat.msgs.toArray().sort(inOrder) : [];
    };

    /* Ours that the server has not acknowledged yet, oldest first. */
    exports.unsent = () => Msg.filter((message) => message.id.fromMe && message.ack === 0).sort(inOrder);

    /* Ours whose last receipt may have come while we were away. */
    exports.unsettled = () =>
      Msg.filter((message) => message.id.fromMe && message.ack >= 0 && message.ack < 3).slice(-1000);

    exports.restore = async () => {
      const rows = (await database.messages.all()).map(({ attributes }) => transform(attributes, revivedValue));
      for (const attributes of rows.sort(inOrder)) {
        const chat = importNamespace('SimChats').make(attributes.id.remote);
        exports.show(chat, { ...attributes, isNewMsg: false });
        lastRank = Math.max(lastRank, attributes.rank);
      }
      Msg.on('change:ack', (message) => {
        database.messages.putLater(row(message.attributes));
      });
    };
  });

  __d('WAWebMsgDataFromModel', (exports) => {
    exports.msgDataFromMsgModel = (message) => ({ ...message.attributes });
  });
  __d('WAWebGetQuotedMsg', (exports) => { exports.getQuotedMsgObj = (message) => message.quotedMsg; });
  __d('WAWebQuotedMsgKey', (exports) => { exports.getQuotedMsgKey = () => undefined; });
  __d('WAWebMsgReply', (exports) => { exports.canReplyMsg = () => true; });
  __d('WAWebGetEphemeralFieldsMsgActionsUtils', (exports) => { exports.getEphemeralFields = () => ({}); });
})();
