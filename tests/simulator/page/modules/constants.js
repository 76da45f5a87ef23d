/* Closed sets of words, and the version. */
(function () {
  'use strict';
  const words = (...names) => Object.fromEntries(names.map((name) => [name, name]));
  const constants = (id, values) => __d(id, (exports) => Object.assign(exports, values()));

  constants('WAWebBuildConstants', () => {
    const version = window.__sim.knobs.version;
    const [primary, secondary, tertiary] = version.split('.');
    return {
      VERSION_STR: version, VERSION_BASE: version,
      VERSION_PRIMARY: primary, VERSION_SECONDARY: secondary, VERSION_TERTIARY: tertiary,
      WINDOWS_BUILD: null,
    };
  });
  constants('WAWebSanitizedVersion', () => ({ SANITIZED_VERSION_STR: window.__sim.knobs.version }));

  constants('WAWebSocketConstants', () => ({
    SOCKET_STATE: words('OPENING', 'PAIRING', 'UNPAIRED', 'UNPAIRED_IDLE', 'CONNECTED', 'TIMEOUT', 'CONFLICT',
      'UNLAUNCHED', 'PROXYBLOCK', 'TOS_BLOCK', 'SMB_TOS_BLOCK', 'DEPRECATED_VERSION'),
    SOCKET_STREAM: words('DISCONNECTED', 'SYNCING', 'RESUMING', 'CONNECTED'),
    WATCHED_SOCKET_STATE: words('OPEN', 'CLOSED'),
  }));

  constants('WAWebAck', () => ({
    ACK: {
      MD_DOWNGRADE: -7, INACTIVE: -6, CONTENT_UNUPLOADABLE: -5, CONTENT_TOO_BIG: -4, CONTENT_GONE: -3, EXPIRED: -2,
      FAILED: -1,
      CLOCK: 0, SENT: 1, RECEIVED: 2, READ: 3, PLAYED: 4, PEER: 5,
    },
    ACK_STRING: { SENDER: 'sender', DELIVERY: 'delivery', READ: 'read', PLAYED: 'played', INACTIVE: 'inactive' },
    EDIT_ATTR: {},
  }));

  constants('WAWebSendMsgResult', () => ({
    SendMsgResult: words('OK', 'ERROR_NETWORK', 'ERROR_EXPIRED', 'ERROR_CANCELLED', 'ERROR_UPLOAD', 'ERROR_UNKNOWN'),
  }));

  constants('WAWebMsgType', () => ({
    MSG_TYPE: {
      CHAT: 'chat', IMAGE: 'image', VIDEO: 'video', DOCUMENT: 'document', CIPHERTEXT: 'ciphertext',
      CALL_LOG: 'call_log',
      AUDIO: 'audio', PTT: 'ptt', STICKER: 'sticker', LOCATION: 'location', VCARD: 'vcard', REVOKED: 'revoked',
      PROTOCOL: 'protocol',
    },
    SYSTEM_MESSAGE_TYPES: {},
  }));

  constants('WAWebLogoutReasonConstants', () => ({
    LogoutReason: {
      UserInitiated: 'user_initiated', UnknownCompanion: 'unknown_companion',
      ClientVersionOutdated: 'client_version_outdated',
    },
    LOGOUT_REASON_CODE: { CLIENT_FATAL: '0', SYNC_FAIL: '1' },
  }));

  constants('WAWebIsOfficialClient', () => ({ isOfficialClient: true }));
})();
