/* Who we are: WhatsApp's names for what SimIdentity keeps. */
(function () {
  'use strict';

  __d('WAWebUserPrefsInfoStore', (exports) => {
    exports.waNoiseInfo = { get: async () => ({ staticKeyPair: { pubKey: key('noise') } }) };
  });
  __d('WAWebSignalStoreApi', (exports) => {
    exports.waSignalStore = { getRegistrationInfo: async () => ({ identityKeyPair: { pubKey: key('identity') } }) };
  });
  __d('WAWebUserPrefsMultiDevice', (exports) => {
    exports.getADVSecretKey = () => importNamespace('SimIdentity').keys.adv;
    exports.setADVSignedIdentity = () => {};
  });
  const key = (name) => importNamespace('WABase64').decodeB64(importNamespace('SimIdentity').keys[name]);

  __d('WAWebCompanionRegClientUtils', (exports) => { exports.DEVICE_PLATFORM = '1'; });
  __d('WAWebAdvSignatureApi', (exports) => { exports.verifyDeviceIdentityAccountSignature = () => true; });

  __d('WAWebUserPrefsMeUser', (exports) => {
    const { createWid, toUserWid } = importNamespace('WAWebWidFactory');
    const identity = importNamespace('SimIdentity');

    const device = (name) => (identity.creds ? createWid(identity.creds[name]) : undefined);
    const user = (name) => (identity.creds ? toUserWid(device(name)) : undefined);
    function orThrow(wid) {
      if (!wid) throw new Error('me is not set');
      return wid;
    }

    exports.getMaybeMePnUser = () => user('wid');
    exports.getMaybeMeLidUser = () => user('lid');
    exports.getMaybeMeDevicePn = () => device('wid');
    exports.getMaybeMeDeviceLid = () => device('lid');
    exports.getMePnUserOrThrow = () => orThrow(user('wid'));
    exports.getMeLidUserOrThrow = () => orThrow(user('lid'));
    exports.getMaybeMeDisplayName = () => (identity.creds ? identity.creds.pushname : undefined);
    exports.isMeAccount = exports.isMeUser = (wid) => [String(user('wid')), String(user('lid'))].includes(String(wid));
  });

  __d('WAWebLoginState', (exports) => { exports.isLoggedIn = () => !!importNamespace('SimIdentity').creds; });
  __d('WAWebRegistrationState', (exports) => { exports.isRegistered = () => !!importNamespace('SimIdentity').creds; });

  __d('WAWebUserPrefsGeneral', (exports) => {
    let theme = 'light';
    exports.getTheme = () => theme;
    exports.setTheme = (next) => { theme = next; };
    exports.getPushname = () => importNamespace('WAWebConnModel').Conn.pushname;
  });

  __d('WAWebLogoutReason', (exports) => {
    // wa-js wraps this to hear why the session ended.
    exports.getErrorCodeFromLogoutReason = (reason) => String(reason === 'user_initiated' ? 0 : 1);
    exports.setPrevLogoutReasonCode = () => {};
    exports.getPrevLogoutReasonCode = () => null;
  });
})();
