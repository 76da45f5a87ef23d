/* Who is online and who is typing: ours goes out, theirs is not simulated. */
(function () {
  'use strict';

  __d('WAWebPresenceModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    class Presence extends BaseModel {
      async subscribe() {}
    }
    exports.default = defineModel(Presence, 'presence', ['id', 'isOnline', 'chatstate', 'hasData', 'isUser',
      'isGroup']);
  });

  __d('WAWebPresenceCollection', (exports) => {
    const { BaseCollection } = importNamespace('WAWebBaseCollection');
    class PresenceCollection extends BaseCollection {}
    exports.PresenceCollection = new PresenceCollection(importDefault('WAWebPresenceModel'));
  });

  const tell = (chat, state) => importNamespace('SimWire').send({ t: 'presence', chat: String(chat), state });

  __d('WAWebPresenceChatAction', (exports) => {
    exports.markComposing = async (chat) => tell(chat.id, 'composing');
    exports.markRecording = async (chat) => tell(chat.id, 'recording');
    exports.markPaused = async (chat) => tell(chat.id, 'paused');
    exports.sendPresenceAvailable = () => tell('', 'available');
    exports.sendPresenceUnavailable = () => tell('', 'unavailable');
    exports.clearPresence = () => {};
  });

  __d('WAWebChatStateBridge', (exports) => {
    exports.sendChatStateComposing = async (chat) => tell(chat, 'composing');
    exports.sendChatStateRecording = async (chat) => tell(chat, 'recording');
    exports.sendChatStatePaused = async (chat) => tell(chat, 'paused');
  });

  __d('WAWebContactPresenceBridge', (exports) => {
    exports.subscribeUserPresence = exports.subscribeGroupPresence = async () => {};
  });
})();
