/* IndexedDB of the page: who this device is (`wawc`), and what it has seen and not
 * yet sent (`model-storage`). Both survive a SIGKILL of the browser; localStorage does not. */
__d('SimDatabase', (exports) => {
  'use strict';

  const SCHEMA = {
    wawc: { user: 'key' },
    'model-storage': { message: 'id', chat: 'id', contact: 'id' },
  };

  const opened = new Map();

  function open(name) {
    if (!opened.has(name)) {
      opened.set(name, new Promise((resolve, reject) => {
        const request = indexedDB.open(name, 1);
        request.onupgradeneeded = () => {
          for (const [store, keyPath] of Object.entries(SCHEMA[name])) {
            request.result.createObjectStore(store, { keyPath });
          }
        };
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      }));
    }
    return opened.get(name);
  }

  /* Runs one transaction; resolves with the request's result once it has completed. */
  async function transact(name, store, mode, run) {
    const database = await open(name);
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(store, mode);
      const request = run(transaction.objectStore(store));
      transaction.oncomplete = () => resolve(request && request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  /* Written behind: what a crash may take back, since the server tells it again. */
  const BEHIND_MS = 500;

  function behind(putAll) {
    const waiting = new Map(); // key -> newest row
    let timer = null;
    const write = () => {
      timer = null;
      const rows = [...waiting.values()];
      waiting.clear();
      putAll(rows).catch((error) => console.error('not kept', error));
    };
    return {
      put(row) {
        waiting.set(row.id, row);
        timer = timer ?? setTimeout(write, BEHIND_MS);
      },
      forget: () => waiting.clear(),
    };
  }

  function table(name, store) {
    const putAll = (rows) => transact(name, store, 'readwrite', (s) => { rows.forEach((row) => s.put(row)); });
    const later = behind(putAll);
    return {
      get: (id) => transact(name, store, 'readonly', (s) => s.get(id)),
      all: () => transact(name, store, 'readonly', (s) => s.getAll()),
      put: (row) => transact(name, store, 'readwrite', (s) => s.put(row)),
      putAll,
      putLater: later.put,
      clear: () => {
        later.forget();
        return transact(name, store, 'readwrite', (s) => s.clear());
      },
    };
  }

  exports.user = table('wawc', 'user');
  exports.messages = table('model-storage', 'message');
  exports.chats = table('model-storage', 'chat');
  exports.contacts = table('model-storage', 'contact');

  exports.clear = () => Promise.all(
    [exports.user, exports.messages, exports.chats, exports.contacts].map((t) => t.clear()));
});

/* Who this device is: its keys, made at first start, and its credentials once linked. */
__d('SimIdentity', (exports) => {
  'use strict';
  const database = importNamespace('SimDatabase');

  const randomBase64 = (bytes) =>
    btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(bytes))));

  exports.device = null;
  exports.keys = null;
  exports.creds = null; // {wid, lid, pushname, token}

  exports.load = async () => {
    const row = await database.user.get('identity');
    if (row) {
      ({ device: exports.device, keys: exports.keys, creds: exports.creds } = row);
    } else {
      exports.device = randomBase64(12).replace(/\W/g, 'x');
      exports.keys = { noise: randomBase64(32), identity: randomBase64(32), adv: randomBase64(32) };
      await save();
    }
    localStorage.setItem('WALangPref', '"en"');
    if (exports.creds) localStorage.setItem('last-wid-md', JSON.stringify(exports.creds.wid));
  };

  exports.link = (creds) => {
    exports.creds = creds;
    localStorage.setItem('last-wid-md', JSON.stringify(creds.wid));
    return save();
  };

  exports.forget = async () => {
    exports.creds = null;
    await database.clear();
    localStorage.clear();
  };

  const save = () => database.user.put(
    { key: 'identity', device: exports.device, keys: exports.keys, creds: exports.creds });
});
