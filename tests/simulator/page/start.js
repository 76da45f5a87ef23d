/* How the page comes up: ask which knobs hold for this device, register the modules in
 * bursts with a quiet gap between them, then start the application. */
(async () => {
  'use strict';
  const sim = window.__sim;

  const addScript = (url) => new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = url;
    script.onload = resolve;
    script.onerror = () => reject(new Error('bundle did not load: ' + url));
    document.head.append(script);
  });

  const identity = importNamespace('SimIdentity');
  await identity.load();
  const wid = identity.creds ? identity.creds.wid : '';
  const answer = await fetch('/sim/start?' + new URLSearchParams({ device: identity.device, wid }));
  const { knobs, bundles } = await answer.json();
  sim.knobs = knobs;
  sim.holdBack(knobs.late_modules);

  const share = Math.ceil(knobs.filler / bundles.length);
  for (const [index, url] of bundles.entries()) {
    if (index) await sim.sleep(knobs.gap_ms);
    await addScript(url);
    sim.filler(index * share, share);
  }
  if (knobs.late_modules.length) {
    await sim.sleep(knobs.late_ms);
    sim.release();
  }
  await importNamespace('SimApplication').start();
})();
