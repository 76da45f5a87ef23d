/* Backbone-style events, under everything else here. */
__d('WAWebEventEmitter', (exports) => {
  'use strict';

  exports.default = class EventEmitter {
    on(names, callback, context) {
      // wa-js finds this class by the text of the next line.
      if (typeof callback !== 'function') throw new Error('Callback parameter passed is not a function');
      for (const name of words(names)) {
        const lists = listeners(this);
        (lists[name] = lists[name] || []).push({ callback, context });
      }
      return this;
    }

    once(name, callback, context) {
      const wrapped = (...args) => {
        this.off(name, wrapped);
        callback.apply(context || this, args);
      };
      wrapped.original = callback;
      return this.on(name, wrapped);
    }

    off(names, callback) {
      const lists = listeners(this);
      for (const name of names ? words(names) : Object.keys(lists)) {
        lists[name] = (lists[name] || []).filter((listener) =>
          callback && listener.callback !== callback && listener.callback.original !== callback);
      }
      return this;
    }

    trigger(name, ...args) {
      const lists = listeners(this);
      for (const { callback, context } of (lists[name] || []).slice()) {
        try {
          callback.apply(context || this, args);
        } catch (error) {
          // One bad listener must not stop the others, but it must be seen.
          console.error('listener of ' + name + ' failed', error);
        }
      }
      if (name !== 'all') {
        for (const { callback, context } of (lists.all || []).slice()) callback.call(context || this, name, ...args);
      }
      return this;
    }

    listenTo(other, name, callback) {
      other.on(name, callback, this);
      return this;
    }
  };

  const words = (names) => String(names).split(/\s+/);

  function listeners(emitter) {
    if (!emitter.$listeners) Object.defineProperty(emitter, '$listeners', { value: Object.create(null) });
    return emitter.$listeners;
  }
});

__d('WAWebBackendEventBus', (exports) => {
  const EventEmitter = importDefault('WAWebEventEmitter');
  exports.BackendEvent = {};
  exports.BackendEventBus = new EventEmitter();
});

__d('WAWebLinkDeviceEvents', (exports) => {
  const EventEmitter = importDefault('WAWebEventEmitter');
  exports.WAWebLinkDeviceEvents = new EventEmitter();
});

/* Commands of the user interface; the application's own announcements travel here too. */
__d('WAWebCmd', (exports) => {
  'use strict';
  const EventEmitter = importDefault('WAWebEventEmitter');

  class CmdImpl extends EventEmitter {
    constructor() {
      super();
      this.isMainLoaded = false;
    }
    refreshQR() {
      this.trigger('refresh_qr');
      importNamespace('SimWire').send({ t: 'new-ref' });
    }
    onMainLoaded() {
      this.isMainLoaded = true;
      this.trigger('main_loaded');
    }
    setActiveFilter(filter) { this.trigger('set_active_filter', filter); }
    async openChatBottom() { return true; }
    openDrawerMid() {}
    chatSearch() {}
    msgInfoDrawer() {}
    archiveChat(chat, archive) { chat.archive = archive; }
    pinChat(chat, pin) { chat.pin = pin ? 1 : 0; }
    async sendRevokeMsgs(chat, { list }) {
      for (const message of list) await importNamespace('SimRevoke').revoke(message);
    }
    markChatUnread(chat, unread) { chat.unreadCount = unread ? -1 : 0; }
  }
  exports.CmdImpl = CmdImpl;
  exports.Cmd = new CmdImpl();
});
