/* Addresses of chats (Wid) and of messages (MsgKey). */
__d('WAWebWid', (exports) => {
  'use strict';

  class Wid {
    constructor(user, server, device) {
      this.server = server;
      this.user = user;
      if (device) this.device = device;
      this._serialized = user + (device ? ':' + device : '') + '@' + server;
    }
    toString() { return this._serialized; }
    toJSON() { return this._serialized; }
    toJid() { return this._serialized.replace('@c.us', '@s.whatsapp.net'); }
    equals(other) { return !!other && String(other) === this._serialized; }

    isUser() { return ['c.us', 'lid', 'bot', 'hosted', 'hosted.lid'].includes(this.server); }
    isRegularUser() { return this.isUser() && !this.isPSA(); }
    isRegularUserPn() { return this.server === 'c.us'; }
    isLid() { return this.server === 'lid'; }
    isGroup() { return this.server === 'g.us'; }
    isNewsletter() { return this.server === 'newsletter'; }
    isBroadcast() { return this.server === 'broadcast'; }
    isStatus() { return this._serialized === 'status@broadcast'; }
    isStatusV3() { return this.isStatus(); }
    isBot() { return this.server === 'bot'; }
    isPSA() { return this._serialized === '0@c.us'; }
    isServer() { return this._serialized === 'c.us'; }
    isGroupCall() { return false; }
    isCompanion() { return !!this.device; }
    getDeviceId() { return this.device || 0; }
    isSameAccount(other) { return !!other && other.user === this.user; }

    static isXWid(server, wid) { return String(wid).endsWith('@' + server); }
    static isGroup(wid) { return Wid.isXWid('g.us', wid); }
    static isUser(wid) { return Wid.isXWid('c.us', wid); }
    static isLid(wid) { return Wid.isXWid('lid', wid); }
    static isNewsletter(wid) { return Wid.isXWid('newsletter', wid); }
    static isWid(wid) { return String(wid).includes('@'); }
  }
  exports.default = Wid;
});

__d('WAWebWidFactory', (exports) => {
  'use strict';
  const Wid = importDefault('WAWebWid');

  function createWid(text) {
    const parts = /^([^@:]+)(?::(\d+))?@(.+)$/.exec(String(text).replace('@s.whatsapp.net', '@c.us'));
    if (!parts) throw new Error('wid error: invalid wid: ' + text);
    return new Wid(parts[1], parts[3], parts[2] && Number(parts[2]));
  }
  const withoutDevice = (wid) => new Wid(wid.user, wid.server);
  function lidOrThrow(wid) {
    if (!wid.isLid()) throw new Error('wid error: not a lid: ' + wid);
    return withoutDevice(wid);
  }

  exports.createWid = exports.createDeviceWid = exports.userJidToUserWid = createWid;
  exports.isWidlike = (wid) =>
    !!wid && typeof wid === 'object' && typeof wid.user === 'string' && typeof wid.server === 'string';
  exports.createWidFromWidLike = (wid) =>
    (wid instanceof Wid ? wid : new Wid(wid.user, wid.server, wid.device));
  exports.createUserWid = exports.createUserWidOrThrow =
    (user, server = 'c.us') => (user.includes('@') ? createWid(user) : new Wid(user, server));
  exports.toUserWid = exports.toUserWidOrThrow = exports.asUserWidOrThrow = withoutDevice;
  exports.toUserLidOrThrow = exports.asUserLidOrThrow = lidOrThrow;
  exports.asChatWid = exports.toChatWid = exports.toGroupWid = (wid) => wid;
});

__d('WAWebWidToJid', (exports) => {
  exports.widToUserJid = exports.widToChatJid = exports.widToGroupJid = (wid) => wid.toJid();
});

__d('WAWebJidToWid', (exports) => {
  const { createWid } = importNamespace('WAWebWidFactory');
  exports.userJidToUserWid = exports.chatJidToChatWid = exports.groupJidToWid = createWid;
});

__d('WAWebMsgKey', (exports) => {
  'use strict';
  const { createWid } = importNamespace('WAWebWidFactory');
  const widOf = (wid) => (typeof wid === 'string' ? createWid(wid) : wid);

  class MsgKey {
    constructor(key) {
      // wa-js finds this class by the text of the next line.
      if (!key) throw new Error('MsgKey error: obj is null/undefined');
      this.fromMe = key.fromMe !== undefined ? !!key.fromMe : key.selfDir === 'out';
      this.remote = widOf(key.remote || (this.fromMe ? key.to : key.from));
      this.id = key.id;
      if (key.participant) this.participant = widOf(key.participant);
      if (key.selfDir) this.self = key.selfDir;
      this._serialized = [this.fromMe, this.remote, this.id, this.participant]
        .filter((part) => part !== undefined).join('_');
    }
    toString() { return this._serialized; }
    equals(other) { return String(other) === this._serialized; }
    clone() { return new MsgKey(this); }

    static fromString(text) {
      const [fromMe, remote, id, participant] = String(text).split('_');
      return new MsgKey({ fromMe: fromMe === 'true', remote, id, participant });
    }
    static async newId() {
      const random = crypto.getRandomValues(new Uint8Array(9));
      return '3EB0' + [...random].map((byte) => byte.toString(16).padStart(2, '0')).join('').toUpperCase();
    }
  }
  exports.default = MsgKey;
});
