/* Chats, and how a chat is found or made from an address. */
(function () {
  'use strict';

  __d('WAWebChatModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    exports.default = defineModel(class Chat extends BaseModel {}, 'chat',
      [
        'id', 't', 'unreadCount', 'archive', 'pin', 'mute', 'active', 'msgs', 'contact', 'presence',
        'lastReceivedKey', 'groupMetadata', 'newsletterMetadata', 'name', 'formattedTitle', 'isReadOnly',
        'isParentGroup', 'pausedTimerId', 'labels',
      ]);
  });

  __d('WAWebChatCollection', (exports) => {
    const { BaseCollection } = importNamespace('WAWebBaseCollection');
    class ChatCollection extends BaseCollection {
      async find(id) { return importNamespace('SimChats').open(id); }
    }
    exports.ChatCollectionImpl = ChatCollection;
    exports.ChatCollection = new ChatCollection(importDefault('WAWebChatModel'));
  });

  __d('WAWebChatGetters', (exports) => {
    exports.getIsNewsletter = (chat) => chat.id.isNewsletter();
    exports.getIsBroadcast = (chat) => chat.id.isBroadcast();
    exports.getHasUnread = (chat) => chat.unreadCount !== 0;
    exports.getShouldAppearInList = () => true;
    exports.getPreviewMessage = () => null;
    exports.getShowChangeNumberNotification = () => false;
    exports.getShouldShowUnreadDivider = () => false;
  });

  __d('SimChats', (exports) => {
    const { Chat, Contact, Presence, GroupMetadata } = importNamespace('WAWebCollections');
    const { lidPnCache } = importNamespace('WAWebLidPnCache');
    const database = importNamespace('SimDatabase');

    const row = (chat) => ({ id: String(chat.id), t: chat.t, unreadCount: chat.unreadCount });

    /* The chat under exactly this address, made if need be. */
    function make(id, { t, unreadCount } = {}) {
      const present = Chat.get(id);
      if (present) return present;
      const contact = Contact.gadd(id, { type: 'in' });
      const chat = Chat.add({
        id, contact,
        t: t || importNamespace('WATimeUtils').unixTime(),
        unreadCount: unreadCount || 0,
        archive: false,
        mute: { expiration: 0 },
        formattedTitle: id.user,
        msgs: new (importNamespace('WAWebBaseCollection').BaseCollection)(importDefault('WAWebMsgModel')),
        presence: Presence.gadd(id, {}),
        groupMetadata: id.isGroup() ? GroupMetadata.gadd(id, {}) : undefined,
      });
      chat.on('change:unreadCount', () => database.chats.putLater(row(chat)));
      return chat;
    }

    /* The address under which the chat lives: a number may resolve to a LID. */
    async function resolve(id) {
      if (Chat.get(id)) return id;
      if (id.isGroup()) {
        await GroupMetadata.update(id);
        return id;
      }
      const alternate = id.isLid() ? lidPnCache.getPhoneNumber(id) : lidPnCache.getCurrentLid(id);
      if (alternate && Chat.get(alternate)) return alternate;
      const found = await importNamespace('WAWebQueryExistsJob').queryWidExists(id);
      if (!found) throw new Error('No LID for user'); // the real page's own words
      return found.chat;
    }

    exports.make = make;
    exports.open = async (id) => {
      const address = await resolve(id);
      const present = Chat.get(address);
      if (present) return present;
      const chat = make(address);
      await database.chats.put(row(chat));
      return chat;
    };
    exports.restore = async () => {
      const { createWid } = importNamespace('WAWebWidFactory');
      for (const row of await database.chats.all()) make(createWid(row.id), row);
    };
  });

  __d('WAWebFindChatAction', (exports) => {
    const { Chat } = importNamespace('WAWebCollections');
    exports.findOrCreateLatestChat = async (id) => {
      const before = Chat.length;
      const chat = await importNamespace('SimChats').open(id);
      return { chat, created: Chat.length > before };
    };
    exports.findExistingChat = async (id) => Chat.get(id);
  });

  /* Reading: clears the count and tells the senders. */
  __d('WAWebUpdateUnreadChatAction', (exports) => {
    exports.sendSeen = async (request) => {
      const chat = request.chat || request; // older callers pass the chat itself
      const unread = Math.abs(chat.unreadCount); // -1 is a chat that was marked as unread
      if (!unread) return;
      const ids = importNamespace('SimMessages').ofChat(chat.id)
        .filter((message) => !message.id.fromMe).slice(-unread).map((message) => message.id.id);
      chat.unreadCount = 0;
      importNamespace('SimWire').send({ t: 'seen', chat: String(chat.id), ids });
    };
    exports.markUnread = async (chat, unread = true) => { chat.unreadCount = unread ? -1 : 0; };
  });
})();
