/* Collections: models by id, in order of arrival. */
__d('WAWebBaseCollection', (exports) => {
  'use strict';
  const EventEmitter = importDefault('WAWebEventEmitter');

  /* A key, a Wid, a string, or anything that carries one of those as `id`. */
  function keyOf(what) {
    if (what === null || what === undefined) return what;
    if (typeof what === 'string') return what;
    if (typeof what.equals !== 'function' && what.id !== undefined) return keyOf(what.id);
    return String(what);
  }

  exports.BaseCollection = class BaseCollection extends EventEmitter {
    constructor(model) {
      super();
      // wa-js finds this class by the text of the next line.
      if (!model) throw new Error('Collection initialized without model');
      Object.defineProperty(this, 'modelClass', { value: model });
      Object.defineProperty(this, '$index', { value: new Map() });
    }
    get length() { return this.$index.size; }

    add(values, options = {}) {
      const added = [].concat(values).map((value) => this.$addOne(value, options));
      return Array.isArray(values) ? added : added[0];
    }
    $addOne(value, { merge, silent }) {
      const key = keyOf(value.id);
      const present = this.$index.get(key);
      if (present) {
        if (merge) present.set(value);
        return present;
      }
      const model = value instanceof this.modelClass ? value : new this.modelClass(value);
      // A message is in its chat's collection too; its changes are told by the first.
      if (!model.collection) Object.defineProperty(model, 'collection', { value: this, configurable: true });
      this.$index.set(key, model);
      if (!silent) this.trigger('add', model, this);
      return model;
    }
    remove(values) {
      return [].concat(values).map((value) => {
        const model = this.get(value);
        if (model) {
          this.$index.delete(keyOf(model));
          this.trigger('remove', model, this);
        }
        return model;
      });
    }
    reset() {
      this.$index.clear();
      this.trigger('reset', this);
    }
    sort() {
      this.trigger('sort', this);
      return this;
    }

    get(what) { return this.$index.get(keyOf(what)); }
    assertGet(what) {
      const model = this.get(what);
      if (!model) throw new Error('assertGet: no ' + keyOf(what));
      return model;
    }
    async find(id) { return this.get(id) || this.add({ id }); }
    async update(id) { return this.find(id); }
    gadd(id, attributes) { return this.get(id) || this.add({ id, ...attributes }); }

    at(position) { return this.toArray()[position]; }
    head() { return this.at(0); }
    last() { return this.at(this.length - 1); }
    toArray() { return [...this.$index.values()]; }
    getModelsArray() { return this.toArray(); }
    get models() { return this.toArray(); }
    get _models() { return this.toArray(); }
    map(run) { return this.toArray().map(run); }
    filter(keep) { return this.toArray().filter(keep); }
    forEach(run) { this.toArray().forEach(run); }
    some(is) { return this.toArray().some(is); }
    findFirst(is) { return this.toArray().find(is); }
    where(ids) { return ids.map((id) => this.get(id)).filter(Boolean); }
    serialize() { return this.map((model) => model.serialize()); }
  };
});

/* Collections without behaviour of their own. */
(function () {
  const named = {
    WAWebBlocklistCollection: ['BlocklistCollection', 'WAWebBlocklistModel'],
    WAWebLabelCollection: ['LabelCollection', 'WAWebLabelModel'],
    WAWebTextStatusCollection: ['TextStatusCollection', 'WAWebStatusModel'],
    WAWebStatusCollection: ['StatusCollection', 'WAWebStatusModel'],
  };
  for (const [id, [name, model]] of Object.entries(named)) {
    __d(id, (exports) => {
      const { BaseCollection } = importNamespace('WAWebBaseCollection');
      exports[name] = new (class extends BaseCollection {})(importDefault(model));
    });
  }
  __d('WAWebNewsletterCollection', (exports) => {
    const { BaseCollection } = importNamespace('WAWebBaseCollection');
    exports.default = new (class extends BaseCollection {})(importDefault('WAWebNewsletterModel'));
  });
})();

/* One place to find them all, as whatsapp-web.js does. */
__d('WAWebCollections', (exports) => {
  'use strict';
  exports.Blocklist = importNamespace('WAWebBlocklistCollection').BlocklistCollection;
  exports.Chat = importNamespace('WAWebChatCollection').ChatCollection;
  exports.Contact = importNamespace('WAWebContactCollection').ContactCollection;
  exports.GroupMetadata = importDefault('WAWebGroupMetadataCollection');
  exports.Label = importNamespace('WAWebLabelCollection').LabelCollection;
  exports.Msg = importNamespace('WAWebMsgCollection').MsgCollection;
  exports.Presence = importNamespace('WAWebPresenceCollection').PresenceCollection;
  exports.WAWebNewsletterCollection = importDefault('WAWebNewsletterCollection');
});
