// The demo shop's sign-in form: asks the service for a code, waits for it, checks what the person entered.

import { setText, wait } from "./dom.js";
import { CHANNELS, hasWords, t } from "./i18n.js";

const POLL_MS = 1000;
const POLL_SLOWEST_MS = 8000;

/** The form below `root`. `openLink(channel, link)` opens a deep link on a phone; `onNews` hears of each outcome. */
export class Site {
  constructor(root, client, { openLink, onNews }) {
    this.client = client;
    this.openLink = openLink;
    this.onNews = onNews;
    this.request = null; // the newest request: {id, links, status}
    this.attempt = null; // the code being entered: {subscriberId, channel, requestId or null}
    this.known = {}; // channel -> subscriber_id, as a site would keep it with its account
    this.signedIn = ""; // the channel of the code that signed the person in
    this.busy = false;
    this.note = () => ({ kind: "quiet", text: t("start") });
    this.part = (selector) => root.querySelector(selector);
    this.#listen();
  }

  #listen() {
    this.part(".get-code").addEventListener("click", () => this.#getCode());
    this.part(".sign-out").addEventListener("click", () => this.#signOut());
    this.part(".code-form").addEventListener("submit", (event) => this.#submit(event));
    for (const channel of Object.keys(CHANNELS)) {
      this.part(`.open-${channel}`).addEventListener("click", () => this.openLink(channel, this.request.links[channel]));
      this.part(`.send-${channel}`).addEventListener("click", () => this.#sendDirectly(channel));
    }
  }

  // ---- what the site does

  async #getCode() {
    const answer = await this.#ask(() => this.client.requestCode());
    if (!answer) return;
    const { request_id: id, telegram_link: telegram, max_link: max } = answer;
    this.#become({ request: { id, links: { telegram, max }, status: "pending" } });
    this.#show("wait", "pending");
    this.#poll(this.request);
  }

  /** Asks for the status every second until it is final or the person asked for another code. */
  async #poll(request) {
    let pause = POLL_MS;
    while (request.status === "pending") {
      await wait(pause);
      if (this.request !== request) return;
      const answer = await this.client.requestStatus(request.id);
      if (this.request !== request) return;
      pause = answer.ok ? POLL_MS : Math.min(pause * 2, POLL_SLOWEST_MS);
      if (answer.ok) this.#statusArrived(request, answer.body);
      else this.#showError(answer);
      if (answer.status === 404) return;
    }
  }

  #statusArrived(request, { status, channel, subscriber_id: subscriberId }) {
    request.status = status;
    if (status === "pending") return this.#show("wait", "pending"); // also takes back an error that has passed
    if (status === "sent") this.#codeIsThere({ subscriberId, channel, requestId: request.id }, request);
    else this.#show("bad", status);
    return this.onNews();
  }

  async #sendDirectly(channel) {
    const subscriberId = this.known[channel];
    const answer = await this.#ask(() => this.client.sendCode(subscriberId));
    if (answer) this.#codeIsThere({ subscriberId, channel, requestId: null }, null);
  }

  #codeIsThere(attempt, request) {
    this.#become({ attempt, request });
    this.known[attempt.channel] = attempt.subscriberId;
    this.part("#code").value = "";
    this.#show("good", "sent", { channel: CHANNELS[attempt.channel] });
  }

  async #submit(event) {
    event.preventDefault();
    const input = this.part("#code");
    const code = input.value.trim();
    input.focus({ preventScroll: true });
    if (!code) return;
    const { subscriberId, requestId } = this.attempt;
    const answer = await this.#ask(() => this.client.verifyCode(subscriberId, code, requestId));
    if (answer?.verified === true) this.#signIn();
    else if (answer) this.#refuse(answer);
  }

  #signIn() {
    this.#become({ signedIn: this.attempt.channel });
    this.#show("good", "verified");
    this.part(".sign-out").focus({ preventScroll: true });
  }

  #refuse({ reason, attempts_left: left }) {
    this.#show("bad", reason === "wrong_code" && left === 0 ? "wrongLast" : reason, { left });
    this.part("#code").select();
  }

  #signOut() {
    this.#become({});
    this.#show("quiet", "start");
    this.part(".get-code").focus({ preventScroll: true });
  }

  /** Another person holds this phone now: what the site knew belongs to somebody else. */
  forget(channel) {
    delete this.known[channel];
    if (channel !== (this.attempt?.channel ?? this.signedIn)) return this.draw();
    this.#become({});
    return this.#show("quiet", "forgotten", { channel: CHANNELS[channel] });
  }

  #become({ request = null, attempt = null, signedIn = "" }) {
    Object.assign(this, { request, attempt, signedIn });
  }

  /** One call at a time: the body of a good answer, null after an error (shown) or while another call is under way. */
  async #ask(call) {
    if (this.busy) return null;
    this.busy = true;
    this.draw();
    const answer = await call();
    this.busy = false;
    if (answer.ok) return answer.body;
    this.#showError(answer);
    return null;
  }

  // ---- what the person sees

  #show(kind, key, values = {}) {
    // Kept as a function, so that a change of language changes what stands there already.
    this.note = () => ({ kind, text: t(key, values) });
    this.draw();
  }

  #showError(answer) {
    this.note = () => ({ kind: "bad", ...describeProblem(answer) });
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
    this.#drawLinks();
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
    this.part(".links").hidden = !this.request;
    if (!this.request) return;
    this.part(".links").classList.toggle("quiet", this.request.status !== "pending");
    for (const [channel, link] of Object.entries(this.request.links)) {
      const button = this.part(`.open-${channel}`);
      button.hidden = !link;
      setText(button.querySelector("small"), (link ?? "").replace("https://", ""));
    }
  }
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
