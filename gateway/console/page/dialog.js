/** Dialogs: the browser's own, so that focus stays inside and Escape closes. */

import { el, settle } from "./dom.js";
import { icon } from "./icons.js";
import { texts } from "./texts.js";

const FIRST = "input:not([readonly], [type=file]), [role=tab][aria-selected=true], footer button";

let count = 0;

/**
 * Open a dialog; `build(signal, close)` returns its content. Resolves with what `close` was
 * given, or undefined when it was dismissed. The signal ends with it.
 */
export function dialog(title, build, kind = "") {
  const ended = new AbortController();
  const id = `dialog-${++count}`;
  return new Promise((resolve) => {
    let answer;
    const close = (given) => {
      answer = given;
      node.close();
    };
    const node = el(`dialog${kind && `.${kind}`}`, { "aria-labelledby": id });
    node.append(
      el(
        "header",
        {},
        el("h2", { id }, title),
        el("button.plain", { type: "button", "aria-label": texts.common.close, onclick: () => close() }, icon("close")),
      ),
      ...[build(ended.signal, close)].flat(),
    );
    node.addEventListener("close", () => {
      ended.abort();
      const toasts = node.querySelector(".toasts");
      if (toasts) document.body.append(toasts);
      node.remove();
      // The browser goes back to what opened it, unless that was drawn anew meanwhile.
      settle();
      resolve(answer);
    });
    document.body.append(node);
    node.showModal();
    // Not the button that closes, which the browser would choose.
    node.querySelector(FIRST)?.focus();
  });
}

/** Ask before something is lost; `asked` says what. Resolves with whether to do it. */
export async function confirm(id, asked) {
  return (
    (await dialog(asked.title(id), (_, close) => {
      const yes = el(`button.${asked.type ? "danger" : "primary"}`, { type: "submit", disabled: Boolean(asked.type) }, asked.yes);
      const typed =
        asked.type &&
        el("label.field", {}, asked.type(id), el("input", { autocomplete: "off", spellcheck: "false", oninput: (event) => (yes.disabled = event.target.value.trim() !== id) }));
      const submitted = (event) => {
        event.preventDefault();
        close(true);
      };
      return el(
        "form",
        { onsubmit: submitted },
        el("h3.small", texts.act.lose),
        el("ul.losses", {}, ...asked.lose.map((line) => el("li", {}, icon("alert"), el("span", line)))),
        el("p.keeps", {}, icon("check"), el("span", asked.keep)),
        typed,
        el("footer", {}, el("button", { type: "button", onclick: () => close(false) }, texts.common.cancel), yes),
      );
    })) === true
  );
}
