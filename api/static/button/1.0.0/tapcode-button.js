// <tapcode-button>: a code from Telegram or MAX without leaving the site's page. How to use it: docs/button.md of tapcode.
//
// Where this file does not run, the wrapped link or form leads to the hosted page: nothing here is needed for the way to work.
(() => {
  "use strict";
  if (!window.customElements || !window.HTMLDialogElement || !("adoptedStyleSheets" in Document.prototype)) return;
  if (customElements.get("tapcode-button")) return;

  const SLOW_MS = 6000;
  const LEAST_HEIGHT = 160;
  const KEPT = "tapcode-button";
  const TEXTS = {
    en: {
      button: "Get a code in Telegram or MAX",
      dialog: "Code from Telegram or MAX",
      close: "Close",
      opening: "Opening…",
      slow: "This is taking long.",
      page: "Open as a page",
      failed: "That did not work. Check the connection and try again.",
      again: "Try again",
    },
    ru: {
      button: "Получить код в Telegram или MAX",
      dialog: "Код из Telegram или MAX",
      close: "Закрыть",
      opening: "Открываем…",
      slow: "Открывается долго.",
      page: "Открыть отдельной страницей",
      failed: "Не получилось. Проверьте связь и попробуйте ещё раз.",
      again: "Попробовать ещё раз",
    },
  };

  // A constructed sheet and no markup from strings: fit for a site whose policy allows neither inline style nor script.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { display: inline-block }
    :host([hidden]), [hidden] { display: none !important }
    button, a { font: inherit; cursor: pointer }
    :focus-visible { outline: 3px solid var(--tapcode-focus, Highlight); outline-offset: 2px }
    .button, .again {
      min-height: 2.75rem; padding: .5rem 1.25rem; border: 1px solid transparent; border-radius: var(--tapcode-radius, .6rem);
      background: var(--tapcode-background, #1d5fd0); color: var(--tapcode-color, #fff); font-weight: 600;
    }
    dialog {
      box-sizing: border-box; width: var(--tapcode-dialog-width, 42rem); max-width: calc(100vw - 1.5rem);
      max-height: calc(100vh - 1.5rem); max-height: calc(100dvh - 1.5rem); padding: 0; overflow: hidden;
      border: 1px solid #8886; border-radius: var(--tapcode-dialog-radius, 1rem);
      background: var(--ground); color: CanvasText; color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; text-align: start;
      --ground: #fff; /* light and dark by the visitor's choice, as the page in it is */
    }
    @media (prefers-color-scheme: dark) { dialog { --ground: #14171c } }
    dialog[open] { display: flex; flex-direction: column }
    dialog::backdrop { background: var(--tapcode-backdrop, rgb(0 0 0 / .55)) }
    .bar { display: flex; flex: none; order: -1; justify-content: flex-end }
    .close { width: 2.75rem; height: 2.75rem; padding: 0; border: 0; border-radius: 1rem; background: none; color: inherit; font-size: 1.5rem; line-height: 1 }
    .close:focus-visible { outline-offset: -4px }
    .note { padding: 0 1.25rem 1.25rem }
    .note > * { margin: 0 0 .75rem }
    iframe { display: block; flex: 1 1 auto; width: 100%; height: 34rem; min-height: 0; border: 0 }
    .waits iframe { position: absolute; visibility: hidden }
    @media (max-width: 30rem) {
      dialog { width: 100vw; max-width: none; height: 100vh; height: 100dvh; max-height: none; margin: 0; border: 0; border-radius: 0 }
      iframe { height: auto !important }
    }
  `);

  function element(name, { part, ...properties } = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    if (part) made.className = part;
    if (part) made.setAttribute("part", part);
    made.append(...children);
    return made;
  }

  /** An address that can be shown or asked: never `javascript:` or the like, wherever it came from. */
  function webAddress(text, base) {
    const url = new URL(text, base);
    if (url.protocol !== "https:" && url.protocol !== "http:") throw new TypeError(`not a web address: ${url.protocol}`);
    return url;
  }

  /** What was open in this tab, for a page that is loaded again: phones throw pages away while the messenger is in front. */
  const tab = {
    get() {
      const [visit] = performance.getEntriesByType("navigation");
      try {
        return document.wasDiscarded || visit?.type === "reload" ? JSON.parse(sessionStorage.getItem(KEPT)) : null;
      } catch {
        return null;
      }
    },
    set(open) {
      try {
        if (open) sessionStorage.setItem(KEPT, JSON.stringify(open));
        else sessionStorage.removeItem(KEPT);
      } catch {} // the browser keeps nothing: then a page that was thrown away begins anew
    },
  };
  const lost = tab.get();
  tab.set(null);

  class TapcodeButton extends HTMLElement {
    static observedAttributes = ["label", "lang"];
    #button = element("button", { part: "button", type: "button" });
    #close = element("button", { part: "close", type: "button", textContent: "×" });
    #says = element("p", { part: "says" });
    #link = element("a", { part: "link" });
    #again = element("button", { part: "again", type: "button" });
    #note = element("div", { part: "note" }, this.#says, this.#link, this.#again);
    #bar = element("div", { part: "bar" }, this.#close);
    #dialog = element("dialog", { part: "dialog" }, this.#note, this.#bar);
    #hears = (event) => this.#hear(event);
    #url = null; // of the request that goes on: kept while it does, so that who closes the dialog comes back to the same one
    #requestId = null;
    #isSent = false;
    #start = null; // how to ask for a request, once more if that has to be
    #asking = null; // the call that asks
    #frame = null;
    #origin = ""; // of the page in the frame
    #shown = false;
    #slow = 0;
    #opener = null;

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [sheet];
      root.append(element("slot", {}, this.#button), this.#dialog);
      this.#says.setAttribute("role", "status");
      this.#button.setAttribute("aria-haspopup", "dialog");
      this.#button.addEventListener("click", () => this.open());
      this.#again.addEventListener("click", () => this.#ask());
      this.#close.addEventListener("click", () => this.close());
      this.#dialog.addEventListener("close", () => this.#dialog.open || this.#closed());
      this.addEventListener("click", (event) => this.#clicked(event));
      this.addEventListener("submit", (event) => this.#submitted(event));
    }

    connectedCallback() {
      addEventListener("message", this.#hears);
      this.#word();
      if (lost?.place === this.#place()) this.#reopen();
    }

    disconnectedCallback() {
      removeEventListener("message", this.#hears);
      this.close();
    }

    attributeChangedCallback() {
      this.#word();
    }

    /** Opens the dialog, as a press does. */
    open() {
      this.#open(this.#button, (signal) => this.#post(this.getAttribute("start"), null, signal));
    }

    /** Closes it; the request goes on. */
    close() {
      this.#dialog.close();
      this.#closed();
    }

    // ---- what the visitor presses

    #clicked(event) {
      const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
      const pressed = event.target.closest("a[href], button");
      if (event.defaultPrevented || !plain || !pressed || !this.contains(pressed) || pressed.form) return;
      if (!this.hasAttribute("start") && !this.hasAttribute("page-url")) return;
      event.preventDefault();
      this.#open(pressed, (signal) => this.#post(this.getAttribute("start"), null, signal));
    }

    #submitted(event) {
      const form = event.target;
      if (event.defaultPrevented || form.method !== "post") return;
      event.preventDefault();
      const pressed = event.submitter;
      const start = this.getAttribute("start") || form.getAttribute("action") || "";
      const body = new URLSearchParams(new FormData(form, pressed));
      this.#open(pressed, (signal) => this.#post(start, body, signal));
    }

    #open(opener, start) {
      if (this.#shown || !this.isConnected) return;
      this.#shown = true;
      this.#opener = opener;
      this.#start = start;
      this.#word();
      this.#say("opening");
      this.#dialog.showModal();
      this.#tell("open");
      if (this.#url) this.#show();
      else this.#ask();
    }

    /** Goes on where the page was thrown away. Once: whoever closes it then has closed it. */
    #reopen() {
      const { url, requestId } = lost;
      lost.place = null;
      try {
        this.#url = webAddress(url);
        this.#remember(requestId);
      } catch {
        return;
      }
      this.#open(this.querySelector("a, button") || this.#button, (signal) => this.#post(this.getAttribute("start"), null, signal));
    }

    /** Which of the page's elements this is. */
    #place() {
      return `${location.pathname} ${[...document.querySelectorAll("tapcode-button")].indexOf(this)}`;
    }

    // ---- where the page is

    async #ask() {
      this.#say("opening");
      this.#requestId = null;
      this.#isSent = false;
      const given = this.getAttribute("page-url");
      const asking = (this.#asking = new AbortController());
      try {
        const { page_url, request_id } = given ? { page_url: given } : await this.#start(asking.signal);
        if (asking.signal.aborted) return;
        this.#url = webAddress(page_url); // a whole one: it is not of this site
        this.#remember(request_id);
        this.#show();
      } catch (error) {
        if (asking.signal.aborted) return;
        if (this.#tell("error", { reason: "start", status: error.status || 0 })) this.#say("failed", "again");
        else this.close();
      }
    }

    /** Asks the site's own backend, and nobody else: the call carries its cookies and its token. */
    async #post(start, body, signal) {
      const url = webAddress(start ?? "", document.baseURI);
      if (start === null || url.origin !== location.origin) throw new TypeError("start: an address of this site is needed");
      const headers = { Accept: "application/json" };
      if (this.hasAttribute("csrf")) headers[this.getAttribute("csrf-header") || "X-CSRF-Token"] = this.getAttribute("csrf");
      const answer = await fetch(url, { method: "POST", body, headers, credentials: "same-origin", redirect: "error", signal });
      if (!answer.ok) throw Object.assign(new Error("refused"), { status: answer.status });
      return answer.json();
    }

    // ---- the page in its frame

    #show() {
      const src = new URL(this.#url);
      src.searchParams.set("embed", "1");
      src.searchParams.set("lang", this.#language());
      this.#origin = src.origin;
      this.#say("opening");
      this.#dialog.classList.add("waits");
      // Of the site the page needs to know the origin, for its answers, and nothing of the address.
      this.#frame = element("iframe", { part: "frame", title: this.#text("dialog"), allow: "clipboard-write", referrerPolicy: "origin", src: src.href });
      tab.set({ place: this.#place(), url: this.#url.href, requestId: this.#requestId });
      this.#bar.before(this.#frame); // by keyboard the way out comes after the page, where browsers find it from either side
      this.#slow = setTimeout(() => this.#isSlow(), SLOW_MS);
    }

    #isSlow() {
      this.#link.href = this.#url.href;
      this.#say("slow", "link");
      this.#tell("error", { reason: "frame", status: 0 });
    }

    /** Only the page's own window is heard, and only while it shows the page's own origin. */
    #hear({ source, origin, data }) {
      if (source !== this.#frame?.contentWindow || origin !== this.#origin || data?.source !== "tapcode") return;
      this.#remember(data.request_id);
      if (data.type === "ready") this.#ready(data);
      else if (data.type === "resize") this.#resize(Number(data.height));
      else if (data.type === "sent") this.#sent();
      else if (data.type === "verified") this.#verified(data);
      else if (data.type === "ended") this.#ended(data);
      else if (data.type === "close") this.close();
    }

    #ready({ stage = "waiting" }) {
      clearTimeout(this.#slow);
      this.#note.hidden = true;
      this.#dialog.classList.remove("waits");
      this.#frame.focus();
      if (stage === "code") this.#sent();
      else if (stage !== "waiting") this.#ended({ reason: stage }); // while the dialog was closed
    }

    #sent() {
      if (!this.#isSent) this.#tell("sent");
      this.#isSent = true;
    }

    #resize(height) {
      if (height > 0) this.#frame.style.height = `${Math.max(Math.ceil(height), LEAST_HEIGHT)}px`;
    }

    /** Back to the site's own address, where its backend looks at the request: what is told here proves nothing. */
    #verified({ return_url }) {
      const back = typeof return_url === "string" ? webAddress(return_url).href : null;
      const goesOn = this.#tell("verified", { return_url: back });
      this.#url = null;
      this.close();
      if (goesOn && back) location.assign(back);
    }

    #ended({ reason }) {
      tab.set(null);
      this.#tell("end", { reason: String(reason) });
      this.#url = null; // and the page stays, as it says why; the next press asks anew
    }

    // ---- the end

    #closed() {
      if (!this.#shown) return;
      this.#shown = false;
      clearTimeout(this.#slow);
      this.#asking?.abort();
      this.#frame?.remove();
      this.#frame = null;
      tab.set(null);
      this.#tell("close");
      if (this.#opener?.isConnected) this.#opener.focus({ preventScroll: true });
      this.#opener = null;
    }

    #remember(id) {
      if (typeof id === "string" && /^\w{1,64}$/.test(id)) this.#requestId = id;
    }

    // ---- words

    /** False if the site said with `preventDefault()` that it sees to what follows. */
    #tell(what, more = {}) {
      const detail = { request_id: this.#requestId, ...more };
      return this.dispatchEvent(new CustomEvent(`tapcode-${what}`, { bubbles: true, composed: true, cancelable: true, detail }));
    }

    #say(what, offered) {
      this.#note.hidden = false;
      this.#says.textContent = this.#text(what);
      this.#link.hidden = offered !== "link";
      this.#again.hidden = offered !== "again";
    }

    #word() {
      this.#button.textContent = this.getAttribute("label") || this.#text("button");
      this.#dialog.setAttribute("aria-label", this.#text("dialog"));
      this.#close.setAttribute("aria-label", this.#text("close"));
      this.#link.textContent = this.#text("page");
      this.#again.textContent = this.#text("again");
      this.#dialog.lang = this.#language();
    }

    #text(name) {
      return TEXTS[this.#language()][name];
    }

    #language() {
      const said = this.closest("[lang]")?.lang || navigator.language || "";
      return /^ru\b/i.test(said) ? "ru" : "en";
    }
  }

  customElements.define("tapcode-button", TapcodeButton);
})();
