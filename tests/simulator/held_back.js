/* wa-js for the simulator's own tests: held back until the modules it looks for are
 * registered (started earlier it stays dead), and everything it emits written down. */
(() => {
  if (window !== window.top || location.origin !== 'https://web.whatsapp.com') return;
  const core = ['WAWebSocketModel', 'WAWebStreamModel', 'WAWebConnModel', 'WAWebCmd', 'WAWebMsgCollection',
    'WAWebChatCollection'];

  const timer = setInterval(() => {
    if (!window.require) return;
    const modules = window.require('__debug').modulesMap;
    if (!core.every((id) => id in modules)) return;
    clearInterval(timer);
    start();
  }, 20);

  function start() {
    window.WPPConfig = { disableGoogleAnalytics: true };
    /* wa-js */
    ;window.__events = [];
    WPP.onAny((event, value) => {
      if (!/^(loader|config|conn\.backend)/.test(event)) window.__events.push([event, brief(event, value)]);
    });
  }

  function brief(event, value) {
    if (event === 'chat.new_message') {
      const { id, body, from, author } = value;
      return { id: String(id), body, from: String(from), author: author && String(author) };
    }
    if (event === 'chat.msg_ack_change') return { ack: value.ack, ids: value.ids.map(String) };
    return event.startsWith('conn.') && value !== undefined ? JSON.parse(JSON.stringify(value)) : null;
  }
})();
