/* Groups: subject and participants, fetched from the server. Participants are LIDs. */
(function () {
  'use strict';

  __d('WAWebParticipantModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    exports.default = defineModel(class Participant extends BaseModel {}, 'participant', [
      'id', 'isAdmin', 'isSuperAdmin',
    ]);
  });

  __d('WAWebGroupParticipantCollection', (exports) => {
    const { BaseCollection } = importNamespace('WAWebBaseCollection');
    const me = importNamespace('WAWebUserPrefsMeUser');
    exports.default = class ParticipantCollection extends BaseCollection {
      $mine() { return this.findFirst((participant) => me.isMeUser(participant.id)); }
      iAmMember() { return !!this.$mine(); }
      iAmAdmin() { return !!this.$mine() && !!this.$mine().isAdmin; }
      iAmSuperAdmin() { return !!this.$mine() && !!this.$mine().isSuperAdmin; }
      iAmRestrictedMember() { return false; }
    };
  });

  __d('WAWebGroupMetadataModel', (exports) => {
    const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
    class GroupMetadata extends BaseModel {
      initialize() {
        this.isLidAddressingMode = true;
        const ParticipantCollection = importDefault('WAWebGroupParticipantCollection');
        this.participants = new ParticipantCollection(importDefault('WAWebParticipantModel'));
      }
    }
    exports.default = defineModel(GroupMetadata, 'group-metadata', ['id', 'subject', 'participants', 'announce',
      'isLidAddressingMode']);
  });

  __d('WAWebGroupMetadataCollection', (exports) => {
    const { BaseCollection } = importNamespace('WAWebBaseCollection');
    const { createWid } = importNamespace('WAWebWidFactory');

    class GroupMetadataCollection extends BaseCollection {
      onParentGroupChange() {}
      async find(id) {
        const present = this.get(id);
        return present && present.subject ? present : this.update(id);
      }
      async update(id) {
        return this.learn(await importNamespace('SimWire').call({ t: 'group', id: String(id) }));
      }
      learn({ id, subject, participants }) {
        const metadata = this.gadd(createWid(id), {});
        metadata.subject = subject;
        metadata.participants.add(participants.map((lid) => ({ id: createWid(lid), isAdmin: false })));
        return metadata;
      }
    }
    exports.default = new GroupMetadataCollection(importDefault('WAWebGroupMetadataModel'));
  });
})();
