// The demo shop's sign-in form: asks the service for a code, waits for it, checks what the person entered.

import { copyAndSay, setText, wait } from "./dom.js";
import { CHANNELS, hasWords, t } from "./i18n.js";

const POLL_MS = 1000;
const POLL_SLOWEST_MS = 8000;
const POLLS = 1200; // while the links live, and then the code
const DEVICE = { device: "Chrome on Windows", location: "Kazan", ip: "203.0.113.7" };

/** The form below `root`. `openLink(channel, link)` opens a deep link on a phone; `onNews` hears of each outcome. */
export class Site {
  constructor(root, client, { openLink, onNews }) {
    this.client = client;
    this.openLink = openLink;
    this.onNews = onNews;
    this.request = null; // the newest: {id, pairingCode, number or undefined, links, status}
    this.attempt = null; // the code being entered: {subscriberId, channel, requestId or null}
    this.known = {}; // channel -> subscriber_id, as a site would keep it with its account: only after `verified`
    this.phoneOf = null; // the request whose person may still share a number
    this.phone = ""; // told once, so it is kept here
    this.signedIn = ""; // the channel of the code that signed the person in
    this.busy = false;
    this.era = 0; // how often the site forgot: older answers are dropped
    this.troubled = false; // the note is an error of the polling
    this.note = () => ({ kind: "quiet", text: t("start") });
    this.part = (selector) => root.querySelector(selector);
    this.#listen();
  }

  #listen() {
    this.part(".get-code").addEventListener("click", () => this.#getCode());
    this.part(".sign-out").addEventListener("click", () => this.#signOut());
    this.part(".code-form").addEventListener("submit", (event) => this.#submit(event));
    for (const channel of Object.keys(CHANNELS)) {
      this.part(`.open-${channel}`).addEventListener("click", () => {
        this.openLink(channel, this.request.links[channel], this.request.pairingCode);
      });
      this.part(`.send-${channel}`).addEventListener("click", () => this.#sendDirectly(channel));
    }
    for (const name of [".pairing-code", ".request-text"]) {
      const button = this.part(`${name} + button`);
      button.addEventListener("click", () => copyAndSay(button.firstChild, this.part(name).textContent));
    }
  }

  // ---- what the site does

  async #getCode() {
    const match = this.part(".want-match").checked ? { match: true } : {};
    const asksPhone = this.part(".want-phone").checked;
    const phone = asksPhone ? { phone: "ask" } : {};
    const answer = await this.#ask(() => this.client.requestCode({ ...match, ...phone, ...this.#context() }));
    if (!answer) return;
    const { request_id: id, pairing_code: pairingCode, match_number: number, telegram_link: telegram, max_link: max } = answer;
    this.#become({ request: { id, pairingCode, number, links: { telegram, max }, status: "pending" } });
    Object.assign(this, { phoneOf: asksPhone ? this.request : null, phone: "" });
    this.#show("wait", "pending");
    this.#poll(this.request);
  }

  /** Who is asking, for the person to see in the chat; nothing unless that is wanted. */
  #context() {
    if (!this.part(".want-context").checked) return {};
    return { context: { action: t("signIn"), ...DEVICE } };
  }

  #follows(request) {
    return this.request === request || this.phoneOf === request;
  }

  /** Asks for the status every second, also once it is sent: it may become reported, and a number may be shared. */
  async #poll(request) {
    let pause = POLL_MS;
    for (let left = POLLS; left && isOpen(request); left -= 1) {
      await wait(pause);
      if (!this.#follows(request)) return;
      const answer = await this.client.requestStatus(request.id);
      if (!this.#follows(request)) return;
      pause = answer.ok ? POLL_MS : Math.min(pause * 2, POLL_SLOWEST_MS);
      if (answer.ok) this.#statusArrived(request, answer.body);
      else if (request.status === "pending") this.#pollFailed(answer);
      if (answer.status === 404) return;
    }
  }

  #pollFailed(answer) {
    if (this.note().kind === "bad" && !this.troubled) return; // an act's error stands until the next act
    this.#showError(answer);
    this.troubled = true;
  }

  /** Told in this answer and in no other one. */
  #phoneArrived(request, { status, phone, phone_pending: pending }) {
    if (this.phoneOf !== request || status === "pending") return;
    if (!pending) this.phoneOf = null;
    if (!phone) return;
    this.phone = phone;
    this.draw();
    this.onNews();
  }

  #statusArrived(request, body) {
    const { status, channel, subscriber_id: subscriberId, reported } = body;
    this.#phoneArrived(request, body);
    if (this.request !== request) return; // signed in, and waiting for the number alone
    const before = request.status;
    request.status = reported ? "reported" : status;
    if (request.status === "pending" && this.troubled) this.#show("wait", "pending"); // the error has passed
    if (request.status === before) return;
    if (request.status === "sent") this.#codeIsThere({ subscriberId, channel, requestId: request.id }, request);
    else {
      this.#become({ request });
      this.#show("bad", request.status);
    }
    this.onNews();
  }

  async #sendDirectly(channel) {
    const subscriberId = this.known[channel];
    const same = this.part(".want-same").checked ? { reuse: true } : {};
    const answer = await this.#ask(() => this.client.sendCode(subscriberId, { ...same, ...this.#context() }));
    if (answer) this.#codeIsThere({ subscriberId, channel, requestId: null }, null, answer.reused);
  }

  #codeIsThere(attempt, request, same = false) {
    this.#become({ attempt, request });
    this.part("#code").value = "";
    this.#show("good", same ? "sentSame" : "sent", { channel: CHANNELS[attempt.channel] });
  }

  async #submit(event) {
    event.preventDefault();
    const input = this.part("#code");
    const code = input.value.trim();
    input.focus({ preventScroll: true });
    if (!code) {
      this.#show("bad", "emptyCode");
      return;
    }
    const { attempt } = this;
    const { subscriberId, requestId } = attempt;
    const answer = await this.#ask(() => this.client.verifyCode(subscriberId, code, requestId));
    if (answer?.verified === true) this.#signIn(attempt);
    else if (answer) this.#refuse(answer);
  }

  #signIn({ channel, subscriberId }) {
    this.known[channel] = subscriberId;
    this.#become({ signedIn: channel });
    this.#show("good", "verified");
    this.part(".sign-out").focus({ preventScroll: true });
  }

  #refuse({ reason, attempts_left: left }) {
    this.#show("bad", reason === "wrong_code" && left === 0 ? "wrongLast" : reason, { left });
    this.part("#code").select();
  }

  #signOut() {
    this.#forgetPhone();
    this.#become({});
    this.#show("quiet", "start");
    this.part(".get-code").focus({ preventScroll: true });
  }

  #forgetPhone() {
    Object.assign(this, { phoneOf: null, phone: "" });
  }

  /** Another person holds this phone now: what the site knew belongs to somebody else. */
  forget(channel) {
    delete this.known[channel];
    if (channel !== (this.attempt?.channel ?? this.signedIn)) return this.draw();
    this.era += 1;
    this.#forgetPhone();
    this.#become({});
    return this.#show("quiet", "forgotten", { channel: CHANNELS[channel] });
  }

  /** A new sandbox knows nothing of what the old one told. */
  startOver() {
    this.era += 1;
    this.known = {};
    this.#forgetPhone();
    this.#become({});
    this.#show("quiet", "restarted");
  }

  #become({ request = null, attempt = null, signedIn = "" }) {
    Object.assign(this, { request, attempt, signedIn });
  }

  /** One call at a time: the body of a good answer, null after an error (shown) or while another call is under way. */
  async #ask(call) {
    if (this.busy) return null;
    this.busy = true;
    this.draw();
    const { era } = this;
    const answer = await call();
    this.busy = false;
    if (era !== this.era) {
      this.draw();
      return null;
    }
    if (answer.ok) return answer.body;
    this.#showError(answer);
    return null;
  }

  // ---- what the person sees

  #show(kind, key, values = {}) {
    // Kept as a function, so that a change of language changes what stands there already.
    this.note = () => ({ kind, text: t(key, values) });
    this.troubled = false;
    this.draw();
  }

  #showError(answer) {
    this.note = () => ({ kind: "bad", ...describeProblem(answer) });
    this.troubled = false;
    this.draw();
  }

  draw() {
    const { kind, text, detail = "" } = this.note();
    this.part(".note").className = `note ${kind}`;
    setText(this.part(".note-text"), text);
    setText(this.part(".note-detail"), detail);
    this.part(".code-form").hidden = !this.attempt;
    this.part(".sign-out").hidden = !this.signedIn;
    this.#drawGetCode();
    for (const name of [".match-option", ".phone-option"]) this.part(name).hidden = this.signedIn;
    this.part(".phone-told").hidden = !this.phone;
    setText(this.part(".phone-told strong"), this.phone);
    this.#drawLinks();
    this.#drawPairing();
    this.part(".direct").hidden = Object.keys(this.known).length === 0;
    for (const channel of Object.keys(CHANNELS)) this.part(`.send-${channel}`).hidden = !(channel in this.known);
  }

  #drawGetCode() {
    const button = this.part(".get-code");
    const first = !this.attempt && this.request?.status !== "pending";
    button.hidden = this.signedIn;
    button.classList.toggle("primary", first);
    button.setAttribute("aria-disabled", String(this.busy));
    setText(button, this.busy ? t("busy") : t(this.request || this.attempt ? "getAnother" : "getCode"));
  }

  #drawLinks() {
    const open = isOpen(this.request);
    this.part(".links").hidden = !open;
    if (!open) return;
    this.part(".links").classList.toggle("quiet", this.request.status === "sent");
    for (const [channel, link] of Object.entries(this.request.links)) {
      const button = this.part(`.open-${channel}`);
      button.hidden = !link;
      setText(button.querySelector("small"), (link ?? "").replace("https://", ""));
    }
  }

  /** What can be typed in place of the links, and the number to press. */
  #drawPairing() {
    const { status, id, pairingCode, number } = this.request ?? {};
    const pending = status === "pending";
    this.part(".pairing").hidden = !pending;
    this.part(".match").hidden = !pending || !number;
    if (!pending) return;
    setText(this.part(".match-number"), number ?? "");
    setText(this.part(".pairing-code"), pairingCode);
    setText(this.part(".request-text"), `otp_${id}`);
  }
}

/** Whether a request may still become something else. */
function isOpen(request) {
  return ["pending", "sent"].includes(request?.status);
}

/** A problem answer in plain words, and beside them its own code and detail for the developer who looks on. */
function describeProblem({ status, body, retryAfter }) {
  if (!status) return { text: t("noAnswer") };
  const code = body?.code ?? "";
  const key = code === "subscriber_locked" ? "locked" : code;
  const words = hasWords(key) ? t(key) : t("refused", { title: body?.title ?? `HTTP ${status}` });
  const retry = retryAfter ? ` ${t("retry", { seconds: retryAfter })}` : "";
  return { text: words + retry, detail: [status, code, body?.detail].filter(Boolean).join(" · ") };
}
