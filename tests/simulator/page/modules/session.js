/* The life of the session: what each frame of the server does to the state that client
 * libraries watch. Messages and receipts are handled one after another; the rest at once. */
__d('SimSession', (exports) => {
  'use strict';
  const { Conn } = importNamespace('WAWebConnModel');
  const { Stream } = importNamespace('WAWebStreamModel');
  const { Socket } = importNamespace('WAWebSocketModel');
  const { Cmd } = importNamespace('WAWebCmd');
  const { createWid } = importNamespace('WAWebWidFactory');
  const network = importDefault('WAWebNetworkStatus');
  const offline = importNamespace('WAWebOfflineHandler');
  const identity = importNamespace('SimIdentity');
  const wire = importNamespace('SimWire');
  const outbox = importNamespace('SimOutbox');
  const messages = importNamespace('SimMessages');
  const sim = window.__sim;

  let leaving = false;
  let queue = Promise.resolve();
  let expected = 0; // messages that arrived while we were away
  let received = 0;

  exports.connecting = () => { if (identity.creds) Socket.state = 'OPENING'; };

  exports.opened = () => {
    network.online = true;
    const unsettled = identity.creds ? messages.unsettled().map(({ id, ack }) => ({ id: id.id, ack })) : [];
    wire.send({
      t: 'hello', device: identity.device, creds: identity.creds, unsettled,
      info: importNamespace('WAWebMiscBrowserUtils').info(), version: sim.knobs.version,
    });
  };

  exports.closed = () => {
    outbox.closed();
    network.online = false;
    Socket.state = 'TIMEOUT';
    if (identity.creds) Stream.info = 'OFFLINE';
  };

  const atOnce = {
    ref({ ref, ttl }) {
      Stream.mode = 'QR';
      Socket.state = 'UNPAIRED';
      Stream.info = 'PAIRING';
      Conn.refTTL = ttl;
      Conn.ref = ref;
      showQr(ref);
    },
    'ref-idle'() { Socket.state = 'UNPAIRED_IDLE'; },
    'login-ok': loggedIn,
    'login-fail': () => loggedOut('unknown_companion'),
    conflict: () => stopWith('CONFLICT'),
    deprecated: () => stopWith('DEPRECATED_VERSION'),
    state({ state, mode }) {
      Socket.state = state;
      if (mode) Stream.mode = mode;
    },
    update() { Stream.needsUpdate = true; },
    hang({ ms }) {
      const until = ms ? Date.now() + ms : Infinity;
      while (Date.now() < until); // the point of the command: nothing else runs meanwhile
    },
  };

  const inOrder = {
    async 'pair-success'({ creds }) {
      Socket.state = 'PAIRING';
      await identity.link(creds);
      loggedIn();
    },
    offline({ count }) {
      expected = count;
      received = 0;
      showProgress();
    },
    async msg(frame) {
      const seq = await importNamespace('SimInbox').receive(frame);
      wire.send({ t: 'recv', seqs: [seq] });
      received += 1;
      if (!Socket.hasSynced) showProgress();
    },
    receipt: (frame) => importNamespace('SimReceipts').receive(frame),
    groups({ groups }) {
      for (const group of groups) {
        importDefault('WAWebGroupMetadataCollection').learn(group);
        importNamespace('SimChats').make(createWid(group.id)).formattedTitle = group.subject;
      }
    },
    'offline-end': synced,
  };

  exports.receive = (frame) => {
    if (atOnce[frame.t]) return atOnce[frame.t](frame);
    const handle = inOrder[frame.t];
    if (!handle) throw new Error('unknown frame ' + frame.t);
    queue = queue.then(() => handle(frame)).catch((error) => {
      // The conflict or logout that closed the page's database is no news.
      if (!leaving) console.error('frame ' + frame.t + ' failed', error);
    });
    return queue;
  };

  function loggedIn() {
    Socket.state = 'CONNECTED';
    Socket.stream = 'CONNECTED';
    Conn.connected = true; // and the last ref stays, as clients expect
    Conn.set({ wid: createWid(identity.creds.wid), pushname: identity.creds.pushname });
    if (Socket.hasSynced) {
      Stream.info = 'RESUMING';
    } else {
      Stream.mode = 'SYNCING';
      Stream.info = 'SYNCING';
    }
    if (!Cmd.isMainLoaded) Cmd.onMainLoaded();
  }

  function showProgress() {
    offline.progress = expected ? Math.min(100, Math.floor((100 * received) / expected)) : 100;
    Cmd.trigger('offline_progress_update_from_bridge');
  }

  async function synced() {
    if (!Socket.hasSynced) await sim.sleep(sim.knobs.sync_ms);
    if (sim.knobs.stuck === 'sync' || Socket.state !== 'CONNECTED') return;
    Stream.mode = 'MAIN';
    Stream.info = 'NORMAL';
    Socket.hasSynced = true;
    importNamespace('WAWebHistorySyncProgressModel').getHistorySyncProgressModel().realProgress = 100;
    document.getElementById('app').innerHTML = '<div id="pane-side" role="main">Chats</div>';
    wire.send({ t: 'ready' });
    outbox.opened();
  }

  function stopWith(state) {
    wire.stop();
    outbox.closed();
    Socket.state = state;
    Stream.mode = state;
  }

  exports.logout = async () => {
    try {
      await wire.call({ t: 'logout' });
    } catch (error) {
      if (error.name !== 'WireClosed') throw error; // offline: we forget ourselves all the same
    }
    await loggedOut('user_initiated');
  };

  async function loggedOut(reason) {
    if (leaving) return;
    leaving = true;
    wire.stop();
    outbox.closed();
    const code = importNamespace('WAWebLogoutReason').getErrorCodeFromLogoutReason(reason);
    Cmd.trigger('logout', reason);
    await identity.forget();
    await sim.sleep(300); // client libraries get this long to hear of it before the page goes
    location.href = '/?post_logout=1&logout_reason=' + code;
  }

  function showQr(ref) {
    const holder = document.createElement('div');
    const { noise, identity: own, adv } = identity.keys;
    holder.dataset.ref = [ref, noise, own, adv, '1'].join(',');
    holder.innerHTML = '<canvas aria-label="Scan this QR code to link a device!" role="img"></canvas>';
    document.getElementById('app').replaceChildren(holder);
  }
});
