/* Names without behaviour: the real page registers thousands of modules that no client
 * looks at, and a library that scans the registry has to get past them. */
window.__sim.filler = function (from, count) {
  'use strict';
  const first = [
    'Account', 'Archive', 'Avatar', 'Backup', 'Badge', 'Banner', 'Biz', 'Bubble', 'Button', 'Camera', 'Carousel',
    'Column', 'Community', 'Compose', 'Country', 'Crop', 'Draft', 'Drawer', 'Emoji', 'Event', 'Export', 'Flow',
  ];
  const second = [
    'Action', 'Bridge', 'Cell', 'Dialog', 'Gating', 'Header', 'Hook', 'Icon', 'Job', 'Layout', 'List', 'Logger',
    'Menu', 'Modal', 'Panel', 'Popup', 'Row', 'Screen', 'Section', 'Style', 'Toast', 'Tooltip', 'View',
  ];
  for (let n = from; n < from + count; n++) {
    const name = first[n % first.length] + second[Math.floor(n / first.length) % second.length];
    const round = Math.floor(n / (first.length * second.length)) || '';
    __d('WAWeb' + name + round + (n % 3 ? '' : '.react'), (exports) => {
      exports.default = () => null;
      exports['render' + name] = () => null;
    });
  }
};
