/* People: contacts, whether a number is on WhatsApp, and which LID belongs to which number.
 *
 * A LID is a second address of the same account that does not show the phone number. For
 * a contact that has moved to LIDs the chat lives under the LID, whoever asks by number. */
(function () {
  'use strict';

  __d('WAWebContactModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    exports.default = defineModel(class Contact extends BaseModel {}, 'contact',
      ['id', 'name', 'pushname', 'shortName', 'type', 'verifiedName', 'isBusiness', 'phoneNumber', 'lid']);
  });

  __d('WAWebContactCollection', (exports) => {
    const { BaseCollection } = importNamespace('WAWebBaseCollection');
    class ContactCollection extends BaseCollection {}
    exports.ContactCollectionImpl = ContactCollection;
    exports.ContactCollection = new ContactCollection(importDefault('WAWebContactModel'));
  });

  /* Both directions of the LID mapping, in memory and in IndexedDB. */
  __d('WAWebLidPnCache', (exports) => {
    const { createWid } = importNamespace('WAWebWidFactory');
    const database = importNamespace('SimDatabase');
    const lidOf = new Map();
    const phoneOf = new Map();

    function remember(lid, phoneNumber) {
      lidOf.set(String(phoneNumber), lid);
      phoneOf.set(String(lid), phoneNumber);
    }

    exports.lidPnCache = {
      getCurrentLid: (phoneNumber) => lidOf.get(String(phoneNumber)),
      getPhoneNumber: (lid) => phoneOf.get(String(lid)),
      getLidEntry: (lid) => (phoneOf.has(String(lid))
        ? { lid, phoneNumber: phoneOf.get(String(lid)), phoneNumberCreatedAt: 0 }
        : undefined),
      getAllLids: () => [...lidOf.values()],
      add: (lid, { phoneNumber }) => remember(lid, phoneNumber),
    };
    exports.learn = async (lid, phoneNumber) => {
      if (phoneOf.has(lid)) return;
      remember(createWid(lid), createWid(phoneNumber));
      await database.contacts.put({ id: lid, phoneNumber });
    };
    exports.restore = async () => {
      for (const { id, phoneNumber } of await database.contacts.all()) remember(createWid(id), createWid(phoneNumber));
    };
  });

  __d('WAWebApiContact', (exports) => {
    const { lidPnCache } = importNamespace('WAWebLidPnCache');
    exports.getCurrentLid = lidPnCache.getCurrentLid;
    exports.getPhoneNumber = lidPnCache.getPhoneNumber;
    exports.getAlternateUserWid = (wid) =>
      (wid.isLid() ? lidPnCache.getPhoneNumber(wid) : lidPnCache.getCurrentLid(wid));
  });

  __d('WAWebLidMigrationUtils', (exports) => {
    const { lidPnCache } = importNamespace('WAWebLidPnCache');
    const { createWidFromWidLike } = importNamespace('WAWebWidFactory');
    exports.Lid1X1MigrationUtils = {
      isLidMigrated: () => false,
      isSyncdSessionMigrated: () => false,
      shouldApplyNonMigratedMessagingRules: () => true,
    };
    exports.toPn = (wid) => (createWidFromWidLike(wid).isLid() ? lidPnCache.getPhoneNumber(wid) : wid);
    exports.toLid = (wid) => (createWidFromWidLike(wid).isLid() ? wid : lidPnCache.getCurrentLid(wid));
  });

  /* Asks the server; learns the LID on the way, as the real job does. */
  __d('WAWebQueryExistsJob', (exports) => {
    const { createWid } = importNamespace('WAWebWidFactory');

    exports.queryWidExists = exports.queryPhoneExists = async (wid) => {
      const answer = await importNamespace('SimWire').call({ t: 'exists', wid: String(wid) });
      if (!answer.exists) return null;
      await importNamespace('WAWebLidPnCache').learn(answer.lid, answer.wid);
      return { wid: createWid(wid.isLid() ? answer.lid : answer.wid), biz: false, chat: createWid(answer.chat) };
    };
  });

  const getters = (id, names, get) => __d(id, (exports) => {
    for (const name of names) exports[name] = (contact) => (contact ? get(name, contact) : undefined);
  });
  getters('WAWebContactGetters',
    [
      'getNotifyName', 'getPremiumMessageName', 'getUserid', 'getIsMe', 'getIsUser', 'getIsGroup', 'getIsBroadcast',
      'getIsNewsletter', 'getIsPSA', 'getIsIAS', 'getIsSupportAccount', 'getIsWAContact', 'getCanRequestPhoneNumber',
      'getShowBusinessCheckmarkAsPrimary', 'getShowBusinessCheckmarkAsSecondary',
      'getShowBusinessCheckmarkInChatlist', 'getIsDisplayNameApproved', 'getShouldForceBusinessUpdate',
      'getUserhash', 'getVerifiedName', 'getVerifiedLevel', 'getStatusMute', 'getName', 'getShortName',
      'getPushname', 'getIsEnterprise',
    ],
    (name, contact) => {
      switch (name) {
        case 'getIsMe': return importNamespace('WAWebUserPrefsMeUser').isMeUser(contact.id);
        case 'getIsUser': case 'getIsWAContact': return contact.id.isUser();
        case 'getIsGroup': return contact.id.isGroup();
        case 'getUserid': return contact.id.user;
        case 'getName': case 'getPushname': case 'getNotifyName': case 'getShortName':
          return contact.name || contact.pushname;
        default: return name.startsWith('getIs') || name.startsWith('getShow') ? false : undefined;
      }
    });
  getters('WAWebFrontendContactGetters',
    [
      'getPhoneNumber', 'getTextStatusString', 'getDisplayName', 'getPnForLid', 'getUserDisplayNameForLid',
      'getDisplayNameOrPnForLid', 'getFormattedPhone', 'getFormattedUsernameOrPhone',
      'getFormattedShortNameWithNonBreakingSpaces', 'getFormattedShortName', 'getFormattedName', 'getFormattedUser',
      'getSearchName', 'getIsMyContact', 'getMentionName', 'getSearchVerifiedName', 'getHeader',
    ],
    (name, contact) => {
      switch (name) {
        case 'getIsMyContact': return !!contact.name;
        case 'getPnForLid': case 'getPhoneNumber':
          return importNamespace('WAWebLidPnCache').lidPnCache.getPhoneNumber(contact.id);
        case 'getFormattedPhone': case 'getFormattedUser': return contact.id.user;
        default: return contact.name || contact.pushname || contact.id.user;
      }
    });
})();
