/* Looking back: messages of a chat around another message. */
(function () {
  'use strict';

  /* The module wa-js's getMessages needs: all three names in one module. */
  __d('WAWebDBMessageFindLocal', (exports) => {
    const messages = importNamespace('SimMessages');

    function find({ anchor, count, direction }) {
      const all = messages.ofChat(anchor.remote);
      const at = all.findIndex((message) => message.id.equals(anchor));
      if (at < 0 || count <= 0) return { messages: [], status: 200 };
      const found = direction === 'after'
        ? all.slice(at + 1, Math.min(all.length, at + 1 + count))
        : all.slice(Math.max(0, at - count), at);
      return { messages: found.map((message) => message.attributes), status: 200 };
    }

    exports.msgFindByDirection = async (query) => find(query);
    exports.msgFindBefore = async (query) => find({ ...query, direction: 'before' });
    exports.msgFindAfter = async (query) => find({ ...query, direction: 'after' });
  });

  __d('WAWebDBMessageFindKinds', (exports) => {
    const none = async () => ({ messages: [], status: 200 });
    for (const kind of ['CallLog', 'Events', 'Media', 'Search', 'Starred']) exports['msgFind' + kind] = none;
  });

  __d('WAWebChatLoadMessages', (exports) => {
    // All of a chat is in memory from the start, so there is never anything earlier to load.
    exports.loadEarlierMsgs = async () => [];
  });

  __d('WAWebChatMessageSearch', (exports) => {
    const { Msg } = importNamespace('WAWebCollections');
    exports.getSearchContext = ({ msgKey }) => ({
      collection: { loadAroundPromise: Promise.resolve(), get: (id) => Msg.get(id) },
      msg: Msg.get(msgKey),
      key: msgKey,
      highlightMsg: true,
    });
  });
})();
