/* One WebSocket to the simulated server: frames out, answers matched to calls, frames in
 * to the session. It reconnects for ever, until it is told to stop. */
__d('SimWire', (exports) => {
  'use strict';
  const calls = new Map(); // sequence number -> {resolve, reject}
  let socket;
  let sequence = 0;
  let failures = 0;
  let stopped = false;

  class WireClosed extends Error {
    constructor() {
      super('the connection to the server is closed');
      this.name = 'WireClosed';
    }
  }

  exports.send = (frame) => {
    if (!socket || socket.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(frame));
    return true;
  };

  exports.call = (frame) => new Promise((resolve, reject) => {
    const seq = ++sequence;
    calls.set(seq, { resolve, reject });
    if (!exports.send({ ...frame, seq })) {
      calls.delete(seq);
      reject(new WireClosed());
    }
  });

  exports.connect = () => {
    const session = importNamespace('SimSession');
    session.connecting();
    socket = new WebSocket(location.origin.replace(/^http/, 'ws') + '/ws/chat');
    socket.onopen = () => {
      failures = 0;
      session.opened();
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.re) answer(frame);
      else session.receive(frame);
    };
    socket.onclose = () => {
      for (const { reject } of calls.values()) reject(new WireClosed());
      calls.clear();
      if (stopped) return;
      session.closed();
      setTimeout(exports.connect, Math.min(5000, 250 * 2 ** failures++));
    };
  };

  function answer(frame) {
    const call = calls.get(frame.re);
    calls.delete(frame.re);
    if (!call) return;
    if (frame.error) call.reject(new Error(frame.error));
    else call.resolve(frame);
  }

  exports.stop = () => {
    stopped = true;
    socket.close();
  };
  exports.takeover = () => {
    stopped = false;
    exports.connect();
  };
  exports.reconnect = () => socket.close();
});
