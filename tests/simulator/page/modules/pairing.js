/* Linking this device: a new QR code on request, or a code typed on the phone. */
(function () {
  'use strict';

  __d('WAWebLaunchSocketUtils', (exports) => {
    exports.refreshQR = () => importNamespace('SimWire').send({ t: 'new-ref' });
  });

  __d('WAWebAltDeviceLinkingApi', (exports) => {
    exports.setPairingType = () => {};
    exports.initializeAltDeviceLinking = async () => {};
    exports.initializeQRLinking = async () => {};
    exports.startAltLinkingFlow = exports.genLinkDeviceCodeForPhoneNumber = async (phone) => {
      const { code } = await importNamespace('SimWire').call({ t: 'link-code', phone });
      return code;
    };
  });
})();
