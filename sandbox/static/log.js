// The list of the site's calls: curl that can be copied, and the answer beside it.

import { copyAndSay, make, makeButton, setText } from "./dom.js";
import { t } from "./i18n.js";

/** Draws `client.log`; an entry keeps its element, so that focus and selection survive a new call. */
export class CallLog {
  constructor(root, client) {
    this.list = root.querySelector(".calls");
    this.empty = root.querySelector(".calls-empty");
    this.client = client;
    this.elements = new Map();
    client.onLog = () => this.draw();
  }

  draw() {
    this.empty.hidden = this.client.log.length > 0;
    for (const [entry, element] of this.elements) {
      if (this.client.log.includes(entry)) continue;
      element.remove();
      this.elements.delete(entry);
    }
    for (const entry of this.client.log.toReversed()) this.#drawEntry(entry);
  }

  /** Draws every entry anew, in the language that is on now. */
  redraw() {
    this.elements.clear();
    this.list.replaceChildren();
    this.draw();
  }

  #drawEntry(entry) {
    let element = this.elements.get(entry);
    if (!element) {
      element = buildEntry(entry);
      this.elements.set(entry, element);
      this.list.prepend(element);
    }
    setText(element.querySelector(".times"), entry.count > 1 ? t("times", { count: entry.count }) : "");
  }
}

function buildEntry(entry) {
  const name = `${entry.method} ${entry.path}`;
  const element = make("li", "call");
  const head = make("div", "call-head");
  const badge = entry.status >= 200 && entry.status < 300 ? "badge good" : "badge bad";
  head.append(
    make("h3", "", name),
    make("span", "times"),
    make("span", badge, entry.status ? String(entry.status) : t("nothing")),
    copyButton(entry.curl, name),
  );
  element.append(
    head,
    block("curl", `curl: ${name}`, entry.curl),
    block("answer", `JSON: ${name}`, entry.text || t("nothing")),
  );
  return element;
}

function block(className, label, text) {
  // Focusable, because a long text scrolls and the keyboard must reach that.
  return make("pre", className, text, { tabindex: "0", role: "region", "aria-label": label });
}

function copyButton(curl, name) {
  const note = make("span", "", t("copy"), { "aria-live": "polite" });
  const button = makeButton("small", "", () => copyAndSay(note, curl), { title: `curl: ${name}` });
  button.append(note);
  return button;
}
