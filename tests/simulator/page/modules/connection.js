/* The singletons that say how the connection is: Conn, Stream, Socket, NetworkStatus. */
(function () {
  'use strict';

  __d('WAWebConnModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    class ConnImpl extends BaseModel {}
    defineModel(ConnImpl, 'conn', [
      'ref', 'refTTL', 'connected', 'wid', 'pushname', 'platform', 'battery', 'plugged', 'isSMB', 'phone', 'lc',
      'lg', 'canSetMyPushname',
    ]);
    exports.ConnImpl = ConnImpl;
    exports.Conn = new ConnImpl({ connected: false, platform: 'android', ref: undefined, isSMB: false });
  });

  __d('WAWebStreamModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    class StreamImpl extends BaseModel {
      markAvailable() { this.available = true; }
      markUnavailable() { this.available = false; }
    }
    defineModel(StreamImpl, 'stream', ['mode', 'info', 'displayInfo', 'available', 'needsUpdate', 'couldForce',
      'obscurity', 'phoneAuthed']);
    exports.Stream = new StreamImpl({ mode: undefined, info: 'OPENING', available: false, needsUpdate: false });
  });

  __d('WAWebSocketModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    class SocketImpl extends BaseModel {
      initConn() {}
      poke() { importNamespace('SimWire').send({ t: 'new-ref' }); }
      reconnect() { importNamespace('SimWire').reconnect(); }
      takeover() { importNamespace('SimWire').takeover(); }
      logout() { return importNamespace('SimSession').logout(); }
    }
    defineModel(SocketImpl, 'socket', ['state', 'stream', 'hasSynced', 'isSyncing', 'retryTimestamp']);
    exports.Socket = new SocketImpl({ state: 'OPENING', stream: 'DISCONNECTED', hasSynced: false });
  });

  __d('WAWebNetworkStatus', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    class NetworkStatus extends BaseModel {
      checkOnline() { return this.online; }
    }
    defineModel(NetworkStatus, 'networkStatus', ['online']);
    exports.default = new NetworkStatus({ online: true });
  });

  __d('WAWebOfflineHandler', (exports) => {
    exports.progress = 0; // percent of what arrived while the page was away
    exports.OfflineMessageHandler = { getOfflineDeliveryProgress: () => exports.progress };
  });

  __d('WAWebHistorySyncProgressModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    class HistorySyncProgressModel extends BaseModel {}
    defineModel(HistorySyncProgressModel, 'history-sync-progress', ['realProgress', 'remainingPausedSeconds']);
    const progress = new HistorySyncProgressModel({ realProgress: 0 });
    exports.HistorySyncProgressModel = HistorySyncProgressModel;
    exports.getHistorySyncProgressModel = () => progress;
  });
})();
