/* The module system of WhatsApp Web, as far as a client library can see it.
 *
 *   __d(id, factory)      registers a module; the factory runs at first use
 *   require(id)           exports; a module whose only export is `default` yields that
 *   importNamespace(id)   exports, always as the namespace object
 *   importDefault(id)     exports.default
 *   requireLazy(ids, cb)  the same, in a microtask
 *   require('__debug').modulesMap[id].factory   the registry wa-js scans
 *   require('Bootloader') fetches a component, which registers more modules
 *
 * `window.__sim` is ours, not WhatsApp's: what the page's own start needs. */
(function (global) {
  'use strict';

  const registry = Object.create(null);
  const held = new Map();       // id -> factory, while the `late_modules` knob keeps it back
  const components = new Map(); // component name -> function that registers its modules
  let late = new Set();

  function load(id) {
    const module = registry[id];
    if (!module) throw new Error('Requiring unknown module "' + id + '"');
    if (!module.loaded) {
      // Marked before it runs: modules that need each other see half an export, as everywhere.
      module.loaded = true;
      try {
        module.factory.call(null, module.exports, global.require, global.importNamespace);
      } catch (error) {
        module.loaded = false;
        throw error;
      }
    }
    return module.exports;
  }

  global.require = function (id) {
    const exports = load(id);
    const names = Object.keys(exports);
    return names.length === 1 && names[0] === 'default' ? exports.default : exports;
  };
  global.importNamespace = (id) => load(id);
  global.importDefault = (id) => load(id).default;
  global.requireLazy = (ids, callback) => queueMicrotask(() => callback(...ids.map(global.require)));

  global.ErrorGuard = {
    skipGuardGlobal() {},
    guard: (run) => run,
    applyWithGuard: (run, self, args) => run.apply(self, args || []),
  };

  global.__d = function (id, factory) {
    if (late.has(id)) held.set(id, factory);
    else registry[id] = { id, factory, exports: {}, loaded: false };
  };

  global.__sim = {
    knobs: {},
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    holdBack(ids) { late = new Set(ids); },
    release() {
      late = new Set();
      for (const [id, factory] of held) global.__d(id, factory);
      held.clear();
    },
    component(name, register) { components.set(name, register); },
  };

  __d('__debug', (exports) => { exports.modulesMap = registry; });

  __d('Bootloader', (exports) => {
    exports.__debug = { componentMap: components };
    exports.loadModules = function (names, callback) {
      // The real one throws at once for a name it does not know, and is asynchronous otherwise.
      for (const name of names) {
        if (!components.has(name)) throw new Error('Bootloader: unknown component "' + name + '"');
      }
      setTimeout(() => {
        for (const name of names) components.get(name)();
        callback();
      }, 10);
    };
  });
})(window);
