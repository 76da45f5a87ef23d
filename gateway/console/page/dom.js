/** Building pages: elements and text nodes only. Nothing here, or anywhere, turns text into markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element: `el("button.primary", { onclick }, "Save")`.
 *
 * Children are nodes, texts or lists of them; null and false are left out. A property that
 * begins with "on" is a listener; `value`, `checked` and the like are set, all else is an attribute.
 */
export function el(name, given, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag || "div");
  if (classes.length) made.className = classes.join(" ");
  if (given instanceof Node || typeof given !== "object" || Array.isArray(given)) {
    children.unshift(given);
  } else if (given) {
    for (const [key, value] of Object.entries(given)) set(made, key, value);
  }
  made.append(...flat(children));
  return made;
}

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "indeterminate"]);

function set(made, key, value) {
  if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
  else if (PROPERTIES.has(key)) made[key] = value;
  else if (value === true) made.setAttribute(key, "");
  else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
}

function flat(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/** Put other children into a node. Who was on one of the old ones goes on from its like. */
export function fill(node, ...children) {
  const back = focused(node);
  node.replaceChildren(...flat(children));
  back();
  return node;
}

/** Remember what is focused inside a node; the answer finds it, or its like, when it was moved or made anew. */
export function focused(node) {
  const had = document.activeElement;
  if (!had || had === node || !node.contains(had)) return () => {};
  const view = node.closest("dialog, main");
  const name = called(had);
  return () => {
    if (document.activeElement === had) return;
    const like = had.isConnected ? had : [...node.querySelectorAll(had.localName)].find((one) => called(one) === name);
    (like ?? (view && node.querySelector(".primary")))?.focus({ preventScroll: true });
    if (view) settle();
  };
}

/** Give focus that fell to the ground a place: in the open dialog, or at the title of the view. */
export function settle() {
  if (document.activeElement && document.activeElement !== document.body) return;
  const top = document.querySelector("dialog[open] header button") ?? document.querySelector("main h1") ?? document.querySelector("main");
  top?.focus({ preventScroll: true });
}

/** Hide a node; who was on it goes on from the next one. */
export function hide(node, next) {
  if (node.contains(document.activeElement)) next.focus({ preventScroll: true });
  node.hidden = true;
}

function called(node) {
  return node.getAttribute("aria-label") || node.id || node.textContent;
}

/** Write a text where it differs: what stays the same is not laid out again. */
export function write(node, text) {
  const said = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== said) node.textContent = said;
  return node;
}

/** Make an SVG element. */
export function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/**
 * Keep the children of a node in step with a list: each item has one child, made once and then
 * told the news, so that focus, open menus and scroll positions stay where they are. `make`
 * returns `{ node }` and, where it can, `update(item)` and `gone()`.
 */
export function keyed(parent, key, make) {
  const held = new Map();
  return (items) => {
    const named = new Map(items.map((item) => [key(item), item]));
    const back = focused(parent);
    // Those that go first: a node that stays is never moved, and keeps its focus.
    for (const [name, row] of held) {
      if (named.has(name)) continue;
      row.node.remove();
      row.gone?.();
      held.delete(name);
    }
    let place = parent.firstElementChild;
    for (const [name, item] of named) {
      let row = held.get(name);
      if (!row) held.set(name, (row = make(item)));
      else row.update?.(item);
      if (row.node === place) place = place.nextElementSibling;
      else parent.insertBefore(row.node, place);
    }
    back();
  };
}
