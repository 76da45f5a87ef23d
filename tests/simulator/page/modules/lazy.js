/* Modules that only a bootloaded component registers. */
window.__sim.component('WAWebMediaForwardMediaMsg', () => {
  'use strict';

  __d('WAWebMediaForwardMediaMsg', (exports) => { exports.forwardMediaMsg = async () => {}; });

  __d('WAWebChatForwardMessage', (exports) => {
    const { sendTextMsgToChat } = importNamespace('WAWebSendTextMsgChatAction');
    const forward = (chat, message) => sendTextMsgToChat(chat, message.body);
    exports.forwardMessages = async ({ chat, msgs }) => {
      for (const message of msgs) await forward(chat, message);
    };
  });

  __d('WAWebForwardMessagesToChat', (exports) => {
    exports.forwardMessagesToChats = async (messages, chats) => {
      for (const chat of chats) {
        await importNamespace('WAWebChatForwardMessage').forwardMessages({ chat, msgs: messages });
      }
    };
  });
});
