/* Receiving: messages of others (and of our other devices), and receipts for ours. */
(function () {
  'use strict';

  __d('WAWebHandleSingleMsg', (exports) => {
    const { Msg } = importNamespace('WAWebCollections');
    exports.handleSingleMsg = async (chatId, message) => Msg.processMultipleMessages(chatId, [message]);
  });

  /* Turns a frame of the server into a message and hands it in. */
  __d('SimInbox', (exports) => {
    const { createWid } = importNamespace('WAWebWidFactory');
    const MsgKey = importDefault('WAWebMsgKey');
    const me = importNamespace('WAWebUserPrefsMeUser');

    exports.receive = async (frame) => {
      const chatId = createWid(frame.chat);
      if (frame.lid) await importNamespace('WAWebLidPnCache').learn(frame.lid, frame.phone);
      const author = frame.author ? createWid(frame.author) : undefined;
      const mine = chatId.isUser() && !chatId.isLid() ? me.getMePnUserOrThrow() : me.getMeLidUserOrThrow();
      const message = {
        id: new MsgKey({ fromMe: frame.from_me, remote: chatId, id: frame.id, participant: author }),
        ...frame.more,
        ...(importNamespace('SimMedia').TYPES.includes(frame.type) ? { caption: frame.body } : { body: frame.body }),
        type: frame.type,
        t: frame.ts,
        from: frame.from_me ? mine : chatId,
        to: frame.from_me ? chatId : mine,
        author,
        ack: frame.from_me ? frame.ack : 1,
        isNewMsg: !frame.history,
        notifyName: frame.pushname,
        self: frame.from_me ? 'out' : 'in',
      };
      if (frame.pushname && !frame.from_me) name(author || chatId, frame.pushname);
      await importNamespace('WAWebHandleSingleMsg').handleSingleMsg(chatId, message);
      return frame.seq;
    };

    function name(id, pushname) {
      importNamespace('WAWebCollections').Contact.gadd(id, { type: 'in' }).pushname = pushname;
    }
  });

  /* wa-js wraps these three to emit chat.msg_ack_change. */
  function handler(participant) {
    return ({ from, externalIds, ack }) => {
      const { Msg } = importNamespace('WAWebCollections');
      for (const id of externalIds) {
        const message = Msg.get(['true', from, id, participant()].filter(Boolean).join('_'));
        if (message) message.updateAck(ack);
      }
    };
  }
  const nobody = () => undefined;
  const myLid = () => importNamespace('WAWebUserPrefsMeUser').getMeLidUserOrThrow();
  __d('WAWebHandleChatReceipt', (exports) => { exports.handleChatSimpleReceipt = handler(nobody); });
  __d('WAWebHandleGroupReceipt', (exports) => { exports.handleGroupSimpleReceipt = handler(myLid); });
  __d('WAWebHandleStatusReceipt', (exports) => { exports.handleStatusSimpleReceipt = handler(nobody); });

  __d('SimReceipts', (exports) => {
    const { createWid } = importNamespace('WAWebWidFactory');
    exports.receive = ({ chat, ids, ack, ts }) => {
      const from = createWid(chat);
      const receipt = { from, externalIds: ids, ack, ackString: ack === 2 ? 'delivery' : 'read', ts };
      if (ack === 1) return handler(from.isGroup() ? myLid : nobody)(receipt);
      if (from.isGroup()) {
        importNamespace('WAWebHandleGroupReceipt').handleGroupSimpleReceipt({ ...receipt, participant: myLid() });
      } else {
        importNamespace('WAWebHandleChatReceipt').handleChatSimpleReceipt(receipt);
      }
    };
  });
})();
