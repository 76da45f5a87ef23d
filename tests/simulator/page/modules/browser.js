/* Small tools of the real page that client libraries call directly. */
(function () {
  'use strict';

  __d('WABase64', (exports) => {
    const encode = (data) => btoa(String.fromCharCode(...new Uint8Array(data.buffer || data)));
    exports.encodeB64 = encode;
    exports.encodeB64UrlSafe = (data) => encode(data).replace(/\+/g, '-').replace(/\//g, '_');
    exports.decodeB64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer;
  });

  __d('WATimeUtils', (exports) => {
    exports.unixTime = () => Math.floor(Date.now() / 1000);
    exports.unixTimeMs = () => Date.now();
  });

  __d('WALinkify', (exports) => {
    const link = /\b(?:https?:\/\/|www\.)[^\s]+/gi;
    exports.findLinks = (text) => (String(text || '').match(link) || []).map((url) => ({ href: url, url }));
    exports.findLink = exports.findFirstWebLink = (text) => exports.findLinks(text)[0];
  });

  // Not MD5: nothing here compares digests, and the name is all a library searches for.
  __d('WAMd5', (exports) => {
    exports.md5 = (text) => String(text);
    exports.md5ArrayBufferHex = () => '';
  });

  __d('WAWebMiscBrowserUtils', (exports) => {
    exports.info = () => ({ os: 'Linux', name: 'Chrome', version: '0', ua: navigator.userAgent });
    exports.hardRefresh = () => location.reload();
    exports.default = { info: exports.info, hardRefresh: exports.hardRefresh, id: () => 'sim', startDownloading() {} };
  });

  __d('WAWebABProps', (exports) => { exports.getABPropConfigValue = () => undefined; });
  __d('WAWebSyncGatingUtils', (exports) => { exports.isPlaceholderMessageResendEnabled = () => false; });
})();
