/* What WhatsApp can do and this page cannot: names that client libraries wrap or look up
 * when they start. Polls, calls, status posts and filter tabs belong
 * here until somebody gives them a file of their own. */
(function () {
  'use strict';
  const hooks = {
    WAWebCreateChat: ['createChatRecord'],
    WAWebEncodeMaybeMediaType: ['encodeMaybeMediaType'],
    WAWebGroupActionDB: ['updateDBForGroupAction'],
    WAWebGroupParticipants: ['updateParticipants', 'addParticipants', 'getParticipants'],
    WAWebInboxFilters: ['isFilterExcludedFromSearchTreatmentInInboxFlow'],
    WAWebLabelOps: ['addToLabelCollection', 'removeLabelFromCollection', 'createLabelItemId', 'getParentCollection',
      'initializeLabels'],
    WAWebMediaMmsV4Upload: ['uploadMedia'],
    WAWebNonMessageDataRequestPlaceholderMessageResendUtils: ['handlePlaceholderMsgsSeen'],
    WAWebPinChat: ['getNumChatsPinned'],
    WAWebPollsUpsert: ['upsertVotes'],
    WAWebPrimaryFeatures: ['primaryFeatureEnabled'],
    WAWebRawSticker: ['processRawSticker'],
    WAWebReactionsMsgAction: ['addOrUpdateReactionsModelCollection'],
    WAWebSendMsgCreateFanoutStanza: ['createFanoutMsgStanza'],
    WAWebUnreadType: ['isUnreadTypeMsg'],
    WAWebVideoThumbs: ['generateVideoThumbsAndDuration'],
  };
  for (const [id, names] of Object.entries(hooks)) {
    __d(id, (exports) => {
      for (const name of names) exports[name] = () => undefined;
    });
  }

  __d('WAWebChatSearchQuery', (exports) => {
    exports.SearchQuery = class SearchQuery {
      updateLabelQuery(filter) { this.filter = filter; }
    };
  });

  __d('WAWebCallModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    class Call extends BaseModel {
      getState() { return 3; }
    }
    exports.default = defineModel(Call, 'call', ['id', 'peerJid', 'isVideo', 'isGroup', 'outgoing']);
  });

  __d('WAWebCallCollection', (exports) => {
    const { BaseCollection } = importNamespace('WAWebBaseCollection');
    class CallCollection extends BaseCollection {
      constructor(model) {
        super(model);
        this.$calls = new Map(); // whatsapp-web.js looks for a Map among the properties
      }
      processIncomingCall(attributes) {
        const call = this.add(attributes);
        this.$calls.set(call.id, call);
        this.setActiveCall(call);
        return call;
      }
      setActiveCall(call) { this.activeCall = call; }
    }
    exports.default = new CallCollection(importDefault('WAWebCallModel'));
  });
})();
