/* Files: prepared, uploaded with the message that carries them, downloaded from where it says. */
(function () {
  'use strict';

  __d('WAWebMediaOpaqueData', (exports) => {
    class OpaqueData {
      constructor(blob, type) {
        this.$blob = blob;
        this.$type = type;
      }
      static async createFromData(data, type) { return new OpaqueData(data, type); }
      throwIfReleased() {}
      forceToBlob() { return this.$blob; }
      type() { return this.$type; }
      size() { return this.$blob.size; }
    }
    exports.default = OpaqueData;
  });

  __d('WAWebMediaGatingUtils', (exports) => { exports.getUploadLimit = () => 100 * 1024 * 1024; });

  __d('SimMedia', (exports) => {
    exports.TYPES = ['image', 'video', 'audio', 'ptt', 'document', 'sticker'];

    const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
    exports.hash = async (blob) => base64(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));

    class Unreachable extends Error {
      constructor() {
        super('the media server cannot be reached');
        this.name = 'WireClosed'; // what the outbox waits over
      }
    }

    exports.upload = async (blob) => {
      const answer = await fetch('/sim/media', { method: 'POST', body: blob }).catch(() => null);
      if (!answer || !answer.ok) throw new Unreachable();
      return (await answer.json()).directPath;
    };
    exports.download = async (path) => {
      const answer = await fetch(path);
      if (!answer.ok) throw new Error('MediaNotFoundError');
      return answer.blob();
    };
  });

  __d('WAWebMediaPrep', (exports) => {
    const OpaqueData = importDefault('WAWebMediaOpaqueData');
    const media = importNamespace('SimMedia');

    /* The real page looks into the file; here its type says what it is sent as. */
    function typeOf(mime, { isPtt, asDocument, asSticker }) {
      if (asDocument) return 'document';
      if (asSticker) return 'sticker';
      if (isPtt) return 'ptt';
      const kind = mime.split('/')[0];
      return ['image', 'video', 'audio'].includes(kind) ? kind : 'document';
    }

    class MediaPrep {
      constructor(opaque, options) {
        this.$blob = opaque.forceToBlob();
        this._mediaData = { type: typeOf(this.$blob.type, options), mimetype: this.$blob.type };
      }
      async waitForPrep() { this._mediaData.filehash = await media.hash(this.$blob); }
      async sendToChat({ chat, options }) {
        const data = {
          ...options.productMsgOptions,
          ...this._mediaData,
          caption: options.caption,
          size: this.$blob.size,
          blob: this.$blob, // kept with the message until it is uploaded
        };
        return importNamespace('WAWebSendMsgChatAction').addAndSendMsgToChat(chat, data)[1];
      }
    }

    exports.MediaPrep = MediaPrep;
    exports.prepRawMedia = (opaque, options) => new MediaPrep(opaque, options);
    exports.uploadProductImage = async () => { throw new Error('there are no products here'); };
    exports.opaqueOf = (blob) => new OpaqueData(blob, blob.type);
  });

  __d('WAWebVCard', (exports) => {
    exports.vcardFromContactModel = (contact) => {
      const displayName = contact.displayName || contact.name || contact.id.user;
      const lines = ['BEGIN:VCARD', 'VERSION:3.0', `FN:${displayName}`,
        `TEL;type=CELL;waid=${contact.id.user}:+${contact.id.user}`, 'END:VCARD'];
      return { displayName, vcard: lines.join('\n') };
    };
  });

  /* Neither of these is a message of its own: they change one that is there. */
  __d('WAWebSendReactionMsgAction', (exports) => {
    exports.sendReactionToMsg = async (message, emoji) => {
      await importNamespace('SimWire').call({ t: 'react', id: message.id.id, emoji: emoji || '' });
      return { messageSendResult: 'OK' };
    };
  });

  __d('SimRevoke', (exports) => {
    exports.revoke = async (message) => {
      await importNamespace('SimWire').call({ t: 'revoke', id: message.id.id });
      message.set({ type: 'revoked', body: '', caption: undefined });
      await importNamespace('SimMessages').keep([message.attributes]);
    };
  });
})();
