/* Models: attributes behind accessors; a change triggers `change:<name>` and `change`
 * on the model and on the collection it lives in. */
__d('WAWebBaseModel', (exports) => {
  'use strict';
  const EventEmitter = importDefault('WAWebEventEmitter');

  class BaseModel extends EventEmitter {
    constructor(attributes = {}) {
      super();
      Object.defineProperty(this, '$attributes', { value: { ...attributes } });
      for (const name of Object.keys(attributes)) defineAttribute(this, name);
      this.initialize();
    }
    initialize() {}

    get attributes() { return this.$attributes; }
    get(name) { return this[name]; }
    set(values, value) {
      if (typeof values === 'string') values = { [values]: value };
      for (const [name, next] of Object.entries(values)) {
        defineAttribute(this, name);
        this[name] = next;
      }
      return this;
    }
    unset(name) {
      this[name] = undefined;
      return this;
    }

    serialize() {
      const plain = {};
      for (const [name, value] of Object.entries(this.$attributes)) {
        if (typeof value !== 'function') plain[name] = serializeValue(value);
      }
      return plain;
    }
    toJSON() { return this.serialize(); }
    safe() { return this; }
    unsafe() { return this; }
    delete() { if (this.collection) this.collection.remove(this); }
  }

  function serializeValue(value) {
    if (!value) return value;
    if (value.modelClass) return value.toArray().map((model) => model.serialize());
    if (value instanceof BaseModel) return value.serialize();
    return value; // a Wid or MsgKey stays itself: whoever copies it gets its own fields
  }

  /* Accessors live on the class: a client library may redefine them there. */
  function defineAttribute(model, name) {
    if (name in model) return;
    definePrototypeAttribute(Object.getPrototypeOf(model), name);
  }

  function definePrototypeAttribute(prototype, name) {
    Object.defineProperty(prototype, name, {
      configurable: true,
      enumerable: true,
      get() { return this.$attributes ? this.$attributes[name] : undefined; },
      set(value) {
        const previous = this.$attributes[name];
        if (previous === value) return;
        this.$attributes[name] = value;
        announce(this, 'change:' + name, value, previous);
        announce(this, 'change', value, previous);
      },
    });
  }

  function announce(model, event, value, previous) {
    model.trigger(event, model, value, previous);
    if (model.collection) model.collection.trigger(event, model, value, previous);
  }

  function defineModel(Model, proxyName, names) {
    Model.prototype.proxyName = proxyName; // how wa-js tells models apart
    Model.prototype.__props = names;
    for (const name of names) {
      if (!(name in Model.prototype)) definePrototypeAttribute(Model.prototype, name);
    }
    return Model;
  }

  exports.BaseModel = BaseModel;
  exports.defineModel = defineModel;
});

/* Models that nothing here gives any behaviour; client libraries look them up by name. */
(function () {
  const plain = {
    Blocklist: 'blocklist', Label: 'label', Mute: 'mute', Newsletter: 'newsletter-sim', Reactions: 'reactions',
    Status: 'text-status',
  };
  for (const [name, proxyName] of Object.entries(plain)) {
    __d('WAWeb' + name + 'Model', (exports) => {
      const { BaseModel, defineModel } = importNamespace('WAWebBaseModel');
      exports.default = defineModel(class extends BaseModel {}, proxyName, ['id']);
    });
  }
})();
