/* The start of the application, once its modules are there. */
__d('SimApplication', (exports) => {
  'use strict';
  const sim = window.__sim;

  exports.start = async () => {
    if (sim.knobs.reject_headless && /HeadlessChrome/.test(navigator.userAgent)) {
      document.getElementById('app').textContent = 'WhatsApp works with Google Chrome 100+';
      return;
    }
    if (sim.knobs.stuck === 'boot') return;
    await importNamespace('WAWebLidPnCache').restore();
    await importNamespace('SimChats').restore();
    await importNamespace('SimMessages').restore();
    await sim.sleep(sim.knobs.boot_ms);
    // The real page sets this late; clients wait for it.
    window.Debug = { ...window.Debug, VERSION: sim.knobs.version };
    importNamespace('SimWire').connect();
  };
});
