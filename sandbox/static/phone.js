// One simulated phone: the chat with the bot, what the person can do in it, and the controls above it.

import { control } from "./api.js";
import { copyText, make, makeButton, setText, wait } from "./dom.js";
import { t } from "./i18n.js";

const TOAST_MS = 5000;

/** A phone drawn into `root` from the template; `update` gives it each new state of the sandbox. */
export class Phone {
  constructor(root, { openElsewhere, onBotMessage }) {
    this.root = root;
    this.channel = root.dataset.channel;
    this.openElsewhere = openElsewhere;
    this.onBotMessage = onBotMessage;
    this.state = null;
    this.bubbles = new Map(); // message id -> {element, fingerprint}
    this.typed = ""; // what the hint offers to type
    root.append(document.getElementById("phone-template").content.cloneNode(true));
    this.part = (selector) => root.querySelector(selector);
    this.chat = this.part(".chat");
    this.input = this.part(".composer input");
    this.part("h2").id = `title-${this.channel}`;
    this.#listen();
  }

  #listen() {
    const onClick = (selector, act) => {
      for (const button of this.root.querySelectorAll(selector)) button.addEventListener("click", () => act(button.dataset));
    };
    onClick(".block", () => this.#act(this.state?.blocked ? "unblock" : "block"));
    onClick(".new-person", () => this.#act("new-person"));
    onClick("[data-language]", ({ language }) => this.speak(language));
    onClick("[data-say]", ({ say }) => this.say(say));
    onClick(".hint button", () => this.#typeHint());
    this.part(".composer").addEventListener("submit", (event) => this.#submit(event));
  }

  // ---- acts of the person

  /** Opens a deep link on this phone, as a tap on the site's button would. `instead` can be typed to the same end. */
  async open(link, instead) {
    this.part(".hint").hidden = true;
    this.root.scrollIntoView({ block: "nearest" });
    this.chat.focus({ preventScroll: true });
    const answer = await this.#act("open", { link });
    if (!answer?.silent) return;
    this.typed = instead ?? new URL(link).searchParams.get("start");
    this.part(".hint").hidden = false;
    this.#drawHint();
  }

  async say(text) {
    this.part(".hint").hidden = true;
    return this.#act("say", { text });
  }

  async speak(language) {
    return this.#act("language", { language });
  }

  async #act(name, body = {}) {
    try {
      return await control(`${this.channel}/${name}`, body);
    } catch (error) {
      this.toast(error instanceof TypeError ? t("noAnswer") : error.message);
      return null;
    }
  }

  #typeHint() {
    this.chat.focus({ preventScroll: true });
    this.say(this.typed);
  }

  async #submit(event) {
    event.preventDefault();
    const text = this.input.value.trim();
    if (!text) return;
    this.input.value = "";
    // What could not be sent stands in the field again.
    if (await this.say(text) === null) this.input.value ||= text;
  }

  async #press(message, button, row, column) {
    if (button.kind === "copy") this.toast(await copyText(button.value));
    else if (button.kind === "link") this.openElsewhere(button.value);
    else await this.#act("press", { message_id: message.id, row, column });
  }

  /** The keys in place of the keyboard; beside them the contact that the bot must not take. */
  #drawKeys() {
    const { keys } = this.state;
    const asks = keys.length > 0;
    const root = this.part(".own-keys");
    const fingerprint = JSON.stringify([keys, t("foreignContact")]);
    root.hidden = !asks;
    if (root.dataset.drawn === fingerprint) return;
    root.dataset.drawn = fingerprint;
    root.replaceChildren();
    if (!asks) return;
    keys.forEach((row, rowIndex) => {
      const line = make("div", "keys", "", { lang: this.state.language });
      row.forEach((label, column) => {
        line.append(makeButton("key own", label, () => this.#act("key", { row: rowIndex, column })));
      });
      root.append(line);
    });
    root.append(makeButton("small foreign", t("foreignContact"), () => this.#act("contact", { whose: "foreign" })));
    this.scrollToEnd();
  }

  // ---- drawing

  update(state) {
    const before = this.state;
    const samePerson = before?.user_id === state.user_id;
    this.state = state;
    if (!samePerson) this.part(".hint").hidden = true;
    this.#drawChat(samePerson);
    if (samePerson) this.#showPopups(before.popups, state.popups);
    this.#drawControls();
    this.#drawKeys();
  }

  /** Draws all words again, in the language of the page that is on now. */
  redraw() {
    this.#drawHint();
    if (!this.state) return;
    this.bubbles.clear();
    this.chat.querySelectorAll(".message").forEach((element) => element.remove());
    this.#drawChat(false);
    this.#drawControls();
    this.#drawKeys();
  }

  /** The time in the phone's status bar: the service's clock, which the page can move. */
  showTime(text) {
    setText(this.part(".time"), text);
  }

  scrollToEnd() {
    this.chat.scrollTop = this.chat.scrollHeight;
  }

  /** A passing note on this phone. */
  async toast(text) {
    const element = this.part(".toast");
    const mine = this.lastToast = {};
    setText(element, text);
    await wait(TOAST_MS);
    if (this.lastToast === mine) setText(element, "");
  }

  #drawHint() {
    setText(this.part(".hint button"), t("type", { text: this.typed }));
  }

  #drawControls() {
    const { blocked, language, bot } = this.state;
    this.root.classList.toggle("is-blocked", blocked);
    setText(this.part(".block"), t(blocked ? "unblock" : "block"));
    setText(this.part(".bot-name"), `@${bot}`);
    setText(this.part(".bot-kind"), t(blocked ? "blocked" : "bot"));
    setText(this.part(".avatar"), bot[0].toUpperCase());
    this.input.placeholder = t(blocked ? "unblockFirst" : "message");
    for (const element of this.root.querySelectorAll(".composer *, [data-say]")) element.disabled = blocked;
    for (const button of this.root.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === language));
    }
  }

  #drawChat(tellOfNew) {
    const { messages } = this.state;
    this.part(".empty").hidden = messages.length > 0;
    for (const [id, { element }] of this.bubbles) {
      if (messages.some((message) => message.id === id)) continue;
      element.remove();
      this.bubbles.delete(id);
    }
    const changed = messages.filter((message) => this.#drawMessage(message, tellOfNew));
    if (!changed.length) return;
    this.scrollToEnd();
    if (tellOfNew && changed.some(({ author }) => author === "bot")) this.onBotMessage(this.channel);
  }

  /** Draws a message that is new or has changed; false when it stands as it is. */
  #drawMessage(message, isNews) {
    const known = this.bubbles.get(message.id);
    const fingerprint = JSON.stringify(message);
    if (known?.fingerprint === fingerprint) return false;
    const element = this.#buildMessage(message);
    if (isNews && !known) moveIn(element);
    // The pressed button goes away with the old bubble: the focus stays in the chat.
    const hadFocus = known?.element.contains(document.activeElement);
    if (known) known.element.replaceWith(element);
    else this.chat.append(element);
    if (hadFocus) this.chat.focus({ preventScroll: true });
    this.bubbles.set(message.id, { element, fingerprint });
    return true;
  }

  #buildMessage(message) {
    const element = make("div", `message ${message.author}`, "", { lang: this.state.language });
    const bubble = make("div", "bubble");
    bubble.append(...this.#textParts(message));
    if (message.edited) bubble.append(make("span", "edited", t("edited")));
    element.append(bubble);
    message.buttons.forEach((row, rowIndex) => {
      const keys = make("div", "keys");
      row.forEach((button, column) => {
        keys.append(makeButton(`key ${button.kind}`, button.label, () => this.#press(message, button, rowIndex, column)));
      });
      element.append(keys);
    });
    return element;
  }

  /** The text with its marked spans. Offsets count characters, not UTF-16 units. */
  #textParts({ text, code_spans: codes, bold_spans: bolds = [] }) {
    const characters = Array.from(text);
    const spans = [
      ...codes.map(([from, length]) => ({ from, length, draw: (code) => this.#codeSpan(code) })),
      ...bolds.map(([from, length]) => ({ from, length, draw: (bold) => make("strong", "", bold) })),
    ].sort((one, other) => one.from - other.from);
    const parts = [];
    let end = 0;
    for (const { from, length, draw } of spans) {
      parts.push(characters.slice(end, from).join(""), draw(characters.slice(from, from + length).join("")));
      end = from + length;
    }
    return [...parts, characters.slice(end).join("")];
  }

  /** A code in the text copies itself when it is tapped. */
  #codeSpan(code) {
    const copy = async () => this.toast(await copyText(code));
    return makeButton("code-span", code, copy, { "aria-label": t("copyCode", { text: code }) });
  }

  #showPopups(before, now) {
    if (JSON.stringify(before) === JSON.stringify(now)) return;
    this.toast(now.slice(now.length > before.length ? before.length : -1).join("\n"));
  }
}

/** Lets a new bubble slide in, once: the class goes, or it would slide again whenever the phone is shown. */
function moveIn(element) {
  element.classList.add("fresh");
  element.addEventListener("animationend", () => element.classList.remove("fresh"));
}
