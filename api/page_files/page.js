// The hosted page works without this; with it, it learns of changes at once. All words come from the server.
"use strict";
(() => {
  const root = document.documentElement;
  const facts = document.body.dataset;
  const embedded = "embed" in facts && window.parent !== window;
  const NEXT = { sse: "long", long: "poll", poll: "poll" };
  const LONG_SECONDS = 25, POLL_MS = 4000, SLOW_MS = 12000, QUIET_MS = 8000, STUCK_MS = 3000, LEAVE_MS = 1200;
  const IN_APP = /FBA[NV]|Instagram|Line\/|MicroMessenger|VKAndroidApp|; wv\)/;
  let stage = facts.stage, way = window.EventSource ? "sse" : "long", stream, timer, looking, failures = 0, done = false, returned = false;

  const $ = (selector) => document.querySelector(selector);
  const main = () => $("main");
  const later = (ms, what) => { clearTimeout(timer); timer = setTimeout(what, ms); };

  // ---- the site around us, where we are shown in its dialog

  function tell(type, more) {
    if (!embedded) return;
    const parent = location.ancestorOrigins && location.ancestorOrigins[0];
    for (const origin of facts.origins.split(" ")) {
      if (origin && (!parent || parent === origin)) {
        window.parent.postMessage({ source: "tapcode", type, request_id: facts.request, ...more }, origin);
      }
    }
  }

  // ---- what there is to see

  function memory(value) {
    try {
      if (value) localStorage.setItem("tapcode.last", value);
      return localStorage.getItem("tapcode.last");
    } catch { return null; }
  }

  function prepare() {
    const last = memory(), mine = last && $(`.way[data-channel="${last === "max" ? "max" : "telegram"}"]`);
    if (mine) mine.querySelector("small").hidden = false;
    order();
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
    for (const part of document.querySelectorAll("[data-no-script]")) part.hidden = true;
    for (const part of document.querySelectorAll("[data-script]")) part.hidden = false;
    if (IN_APP.test(navigator.userAgent)) main().classList.add("stuck");
    count();
  }

  const ways = () => [...document.querySelectorAll(".way")];
  const isSlow = (way) => !way.querySelector(".slow").hidden;

  function order() { // what works is first; of these, what was used last, else what the project wants
    const rank = (way) => 10 * isSlow(way) + 5 * way.querySelector("small").hidden + Number(way.dataset.place), now = ways();
    const wanted = [...now].sort((one, other) => rank(one) - rank(other)), had = document.activeElement;
    if (wanted.every((way, at) => way === now[at])) return;
    now[0].parentNode.append(...wanted);
    had.focus({ preventScroll: true });
  }

  function mark(channels) { // no button moves meanwhile: somebody may be about to touch one
    for (const way of ways()) {
      const note = way.querySelector(".slow"), slow = channels[way.dataset.channel] !== "ok";
      if (slow && note.hidden) say(note.textContent);
      note.hidden = !slow;
    }
    for (const way of ways()) way.querySelector(".go").classList.toggle("plain", isSlow(way) && !ways().every(isSlow));
  }

  function say(text) { $("#live").textContent = text; }

  async function show(note) {
    const address = new URL(location.href);
    address.search = new URLSearchParams({ lang: root.lang, ...(embedded ? { embed: 1 } : {}), ...note });
    address.hash = "";
    const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.body.dataset.stage || answer.status === 429) throw new Error("not now");
    stage = facts.stage = page.body.dataset.stage;
    document.title = page.title;
    const fresh = document.importNode(page.querySelector("main"), true), stuck = main().classList.contains("stuck");
    if (stuck) fresh.classList.add("stuck");
    main().replaceWith(fresh);
    prepare();
    const field = $("#code"), head = $("h1");
    (field || head).focus();
    const words = [...document.querySelectorAll("h1, .error, .notice")].map((one) => one.textContent);
    say(words.join(" "));
    if (stage === "code") tell("sent", { channel: main().dataset.channel });
    else if (stage !== "waiting") tell("ended", { reason: stage });
  }

  function count() {
    const left = $("[data-left]");
    if (!left) return;
    const ends = performance.now() + left.dataset.left * 1000;
    const rules = new Intl.PluralRules(root.lang);
    const words = (n) => (facts[`minutes${rules.select(n)}`] || facts.minutesother).replace("{n}", n);
    const tick = () => {
      if (!left.isConnected) return;
      const seconds = (ends - performance.now()) / 1000;
      if (seconds <= 0) { look(); return; }
      left.textContent = seconds < 60 ? facts.soon : words(Math.ceil(seconds / 60));
      setTimeout(tick, Math.min(seconds * 1000 + 50, (seconds % 60) * 1000 + 50 || 60000));
    };
    setTimeout(tick, (left.dataset.left % 60) * 1000 + 50);
  }

  function offline(yes) { $("#offline").hidden = !yes; }

  // ---- learning of what happens

  async function told(state) {
    failures = 0;
    offline(!navigator.onLine);
    const news = state.stage !== stage || (state.trouble || "") !== (main().dataset.trouble || "");
    if (!done && news) await show();
    else if (state.channels) mark(state.channels);
    if (returned) order();
    returned = false;
  }

  async function ask(seconds) {
    const answer = await fetch(facts.status + (seconds ? `?wait=${seconds}` : ""), { cache: "no-store" });
    if (answer.status === 404) { location.reload(); throw new Error("gone"); }
    if (!answer.ok) throw new Error(String(answer.status));
    await told(await answer.json());
  }

  async function look() {
    if (looking || done) return;
    looking = true;
    try { await ask(); } catch { failed(); } finally { looking = false; }
    follow();
  }

  function failed() {
    failures += 1;
    if (!navigator.onLine || failures > 1) offline(true);
    if (failures > 1) way = NEXT[way];
  }

  function follow() {
    if (done || (stage !== "waiting" && stage !== "code")) { stop(); return; }
    if (stage === "code") { stop(); later(SLOW_MS, look); return; }
    if (way === "sse") listen();
    else if (way === "long") later(0, waitLong);
    else later(POLL_MS * Math.min(failures + 1, 4), look);
  }

  function stop() {
    clearTimeout(timer);
    if (stream) stream.close();
    stream = undefined;
  }

  function listen() {
    if (stream && stream.readyState !== EventSource.CLOSED) { later(SLOW_MS, look); return; } // for what no event tells
    stream = new EventSource(facts.status);
    later(QUIET_MS, () => { way = "long"; stop(); follow(); }); // something between us holds it back
    stream.addEventListener("status", (event) => {
      clearTimeout(timer);
      told(JSON.parse(event.data)).catch(failed).then(follow);
    });
    stream.onerror = () => {
      if (!navigator.onLine) offline(true);
      if (stream && stream.readyState === EventSource.CLOSED) { way = "long"; stop(); later(POLL_MS, look); }
    };
  }

  async function waitLong() {
    if (looking || done) return;
    looking = true;
    try { await ask(LONG_SECONDS); } catch { failed(); } finally { looking = false; }
    if (failures) later(POLL_MS * Math.min(failures, 4), look);
    else follow();
  }

  // ---- the code

  function digits(text, length) {
    const plain = text.normalize("NFKC").replace(/[\u00ad\u200b-\u200f\u2060\ufeff]/g, "");
    const joined = plain.replace(/(\d)[\s\-\u2010-\u2015]+(?=\d)/g, "$1");
    const found = joined.match(new RegExp(`(?:^|\\D)(\\d{${length}})(?!\\d)`));
    return found ? found[1] : null;
  }

  async function check(form) {
    const field = form.elements.code, button = form.querySelector("button");
    if (button.disabled) return;
    button.disabled = true;
    button.textContent = facts.checking;
    try {
      const answer = await fetch(facts.verify, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ code: field.value.slice(0, 64) || " " }),
      });
      if (!answer.ok) { location.reload(); return; } // the page says what is wrong, and goes on when it can
      const said = await answer.json();
      offline(false);
      if (said.verified) return verified(said);
      await show(said.reason === "wrong_code" || said.reason === "malformed_code" ? { n: said.reason } : {});
      follow();
    } catch {
      failed();
      offline(true);
      button.disabled = false;
      button.textContent = button.dataset.label;
      later(POLL_MS, look);
    }
  }

  function verified(said) {
    done = true;
    stop();
    tell("verified", { return_url: said.return_url, proof: said.proof, state: said.state });
    const fresh = $("#done").content.cloneNode(true);
    fresh.querySelector("a").href = said.return_url;
    main().replaceChildren(fresh);
    $("h1").focus();
    say(main().textContent);
    if (!embedded) setTimeout(() => location.replace(said.return_url), LEAVE_MS);
  }

  // ---- what the visitor does

  document.addEventListener("click", async (event) => {
    const go = event.target.closest(".way .go"), copy = event.target.closest("[data-copy]");
    const stuck = event.target.closest(".ask-stuck a");
    if (go) {
      memory(go.closest(".way").dataset.channel);
      setTimeout(() => { if (document.visibilityState === "visible") main().classList.add("stuck"); }, STUCK_MS);
    } else if (copy) {
      try { await navigator.clipboard.writeText(copy.dataset.copy); } catch {
        getSelection().selectAllChildren(copy.parentNode.querySelector(".address"));
        document.execCommand("copy");
      }
      copy.textContent = facts.copied;
      say(facts.copied);
    } else if (stuck) {
      event.preventDefault();
      main().classList.add("stuck");
      $(".stuck-how").focus();
    }
  });

  document.addEventListener("input", (event) => {
    if (event.target.id !== "code") return;
    const found = digits(event.target.value, event.target.dataset.length);
    if (found) { event.target.value = found; check(event.target.form); }
  });

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    event.preventDefault();
    if (form.elements.code) { check(form); return; }
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const answer = await fetch(facts.again, { method: "POST" });
      const note = answer.ok ? { n: "sent_again" }
        : answer.status === 429 ? { n: "too_often", s: answer.headers.get("Retry-After") || 60 } : { n: "not_again" };
      await show(note);
      follow();
    } catch { failed(); offline(true); } finally { button.disabled = false; }
  });

  document.addEventListener("visibilitychange", () => {
    returned = document.visibilityState === "visible";
    if (returned) look();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tell("close"); });
  window.addEventListener("online", () => { failures = 0; look(); });
  window.addEventListener("offline", () => offline(true));

  prepare();
  const back = $("[data-go]");
  if (back && !embedded) { done = true; setTimeout(() => location.replace(back.href), LEAVE_MS); }
  tell("ready", { stage });
  if (embedded && window.ResizeObserver) {
    new ResizeObserver(() => tell("resize", { height: Math.ceil(document.body.getBoundingClientRect().height) })).observe(document.body);
  }
  follow();
})();
