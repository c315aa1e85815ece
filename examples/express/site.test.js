// What the site makes of failures, with a tapcode that fails as it is told to.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import express from "express";
import session from "express-session";
import { AccessError, ConflictError, DeliveryError, NoAnswerError, RateLimitedError, UnavailableError, UnexpectedAnswerError } from "tapcode-client";
import { Accounts } from "./accounts.js";
import { siteOf } from "./site.js";

const SUBSCRIBER = "37bb1792-434b-4d18-bf58-354649e4d376";
const REQUEST = { request_id: "Kq9xV3mN2pT7rL8s", telegram_link: null, max_link: "https://max.ru/id1_bot?start=otp_x", pairing_code: "7KQ2-M9TX", channels: { telegram: "off", max: "ok" } };
const SENT = { status: "sent", subscriber_id: SUBSCRIBER, channel: "max" };
const fails = (Kind, code, more = {}) => () => Promise.reject(new Kind({ code, detail: "d", ...more }));

/** As one across a network is: what was not waited for is not there yet. */
class SlowStore extends session.MemoryStore {
  set(...args) {
    pause(30).then(() => super.set(...args));
  }
}

let server, base, tapcode, accounts, cookie, logged;

before(async () => {
  console.warn = (line) => logged.push(line);
  const asked = { get: (_, name) => (...args) => tapcode[name](...args) };
  const found = { ofVerified: (...args) => accounts.ofVerified(...args), byId: (id) => accounts.byId(id) };
  const parts = { tapcode: new Proxy({}, asked), tapcodeUrl: "http://otp.example", accounts: found, sessionSecret: "s".repeat(32), live: false };
  server = siteOf({ ...parts, store: new SlowStore() }).listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${server.address().port}`;
});
after(() => (server.close(), server.closeAllConnections()));
beforeEach(() => {
  cookie = "";
  logged = [];
  accounts = new Accounts();
  tapcode = {
    request: async () => REQUEST,
    cancel: async () => ({ status: "cancelled" }),
    status: async () => SENT,
    wait: async () => SENT,
    verify: async () => ({ verified: true }),
    send: async () => ({ sent: true, expires_in_seconds: 300 }),
  };
});

/** A page as a browser gets it, which keeps its cookie and follows where it is sent. */
async function open(path, form) {
  const init = { headers: { Cookie: cookie }, redirect: "manual" };
  if (form) Object.assign(init, { method: "POST", body: new URLSearchParams(form) });
  const answer = await fetch(base + path, init);
  cookie = answer.headers.getSetCookie()[0]?.split(";")[0] ?? cookie;
  if (answer.status === 303) return open(answer.headers.get("Location"));
  const html = await answer.text();
  const setCookie = answer.headers.getSetCookie()[0];
  const part = (pattern) => pattern.exec(html)?.[1];
  const asks = html.includes('name="code"') && !html.includes('id="enter" hidden');
  return { status: answer.status, html, setCookie, csrf: part(/name="csrf" value="(\w+)"/), notice: part(/id="notice">([^<]*)</), heading: part(/<h1[^>]*>([^<]*)</), asks };
}

async function atCode() {
  const { csrf } = await open("/login");
  return open("/login", { csrf });
}

async function signedIn() {
  const { csrf } = await atCode();
  return open("/login/code", { csrf, code: "482916" });
}

test("verify is asked with the session's request, the subscriber of its status and what was typed", async () => {
  const asked = [];
  tapcode.verify = async (guess) => (asked.push(guess), { verified: true });
  const { heading, html } = await signedIn();
  assert.equal(heading, "Hello");
  assert.deepEqual(asked, [{ subscriber_id: SUBSCRIBER, request_id: REQUEST.request_id, code: "482916" }]);
  assert.ok(!html.includes(SUBSCRIBER));
});

test("no account is made of who was not verified, nor when the answer got lost", async () => {
  const refused = [{ verified: false, reason: "wrong_code", attempts_left: 2 }, { verified: false, reason: "no_active_code", attempts_left: 0 }];
  for (const verify of [...refused.map((verdict) => async () => verdict), fails(NoAnswerError, "no_answer")]) {
    tapcode.verify = verify;
    accounts.ofVerified = () => assert.fail("nobody was verified");
    assert.notEqual((await signedIn()).heading, "Hello");
    assert.equal((await open("/")).heading, "Sign in");
  }
});

test("while a request is pending a code can't be checked, and the page says what helps", async () => {
  tapcode.status = async () => ({ status: "pending" });
  tapcode.verify = () => assert.fail("there is no subscriber yet");
  const { notice, asks, heading } = await signedIn();
  assert.match(notice, /press “Send again” there/);
  assert.ok(!asks);
  assert.equal(heading, "Get the code");
});

for (const [status, title, sentence] of [
  [{ status: "cancelled" }, "Cancelled", /pressed Cancel in the messenger/],
  [{ status: "expired" }, "The link is out of date", /15 minutes of this link are over/],
]) {
  test(`${status.status}: the field goes, a new link is offered`, async () => {
    tapcode.status = async () => status;
    const { notice, asks, html, heading } = await atCode();
    assert.match(notice, sentence);
    assert.equal(heading, title);
    assert.ok(!asks);
    assert.match(html, /class="main">Get a new link/);
  });
}

test("the waiting page has no field, the bots' names, and tells a code only once it is sent", async () => {
  tapcode.status = async () => ({ status: "pending" });
  const { heading, asks, html } = await atCode();
  assert.deepEqual([heading, asks], ["Get the code", false]);
  assert.match(html, /Open MAX<\/a> <span>@id1_bot</);
  assert.ok(!html.includes("Open Telegram"));
  assert.ok(!html.includes("Sandbox"));
});

const REPORTED = { ...SENT, reported: true };
for (const [when, play] of [
  ["before the page", () => (tapcode.status = async () => REPORTED)],
  ["before the code was entered", () => (tapcode.status = async () => REPORTED)],
  ["while it was checked", () => (tapcode.verify = async () => ((tapcode.status = async () => REPORTED), { verified: false, reason: "no_active_code" }))],
]) {
  test(`"It wasn't me", ${when}: the sign-in is over, nothing new is offered, the session is gone`, async () => {
    const { csrf } = await atCode();
    play();
    const { heading, html } = when === "before the page" ? await open("/login/code") : await open("/login/code", { csrf, code: "482916" });
    assert.equal(heading, "This sign-in was ended");
    assert.ok(!/<form|name="code"/.test(html));
    assert.equal((await open("/login/code")).heading, "Sign in");
  });
}

test("\"It wasn't me\" is heard by a page that lies open", async () => {
  await atCode();
  tapcode.wait = async () => REPORTED;
  assert.deepEqual(JSON.parse((await open("/login/status")).html), { state: "elsewhere" });
});

test("a request that was replaced in another tab is not told as cancelled", async () => {
  const { csrf } = await atCode();
  const cancelled = new Promise((resolve) => (tapcode.cancel = async (id) => resolve(id)));
  tapcode.wait = async () => (await cancelled, { status: "cancelled" });
  tapcode.request = async () => ({ ...REQUEST, request_id: "Another000000000" });
  const [{ html }] = await Promise.all([open("/login/status"), open("/login", { csrf })]);
  assert.deepEqual(JSON.parse(html), { state: "elsewhere" });
  assert.equal(await cancelled, REQUEST.request_id);
});

test("the messenger that works is first, and the other one is said to be slow", async () => {
  const links = async (telegram, max) => {
    tapcode.request = async () => ({ ...REQUEST, telegram_link: "https://t.me/shop_bot?start=otp_x", channels: { telegram, max } });
    tapcode.status = async () => ({ status: "pending" });
    const { html } = await atCode();
    return [...html.matchAll(/<li><a class="([^"]+)"[^>]*>Open (\w+)<([^]*?)<\/li>/g)].map(([, looks, name, rest]) => [name, looks, /Slow to answer/.test(rest)]);
  };
  assert.deepEqual(await links("ok", "ok"), [["Telegram", "button", false], ["MAX", "button", false]]);
  assert.deepEqual(await links("degraded", "ok"), [["MAX", "button", false], ["Telegram", "button slow", true]]);
  assert.deepEqual(await links("a word of a later service", "ok"), [["MAX", "button", false], ["Telegram", "button slow", true]]);
});

test("a link that can't be replaced stays good", async () => {
  const { csrf } = await atCode();
  tapcode.request = fails(UnavailableError, "messenger_unavailable", { httpStatus: 503 });
  tapcode.cancel = () => assert.fail("it was all that the visitor had");
  assert.equal((await open("/login", { csrf })).status, 503);
  assert.ok((await open("/login/code")).asks);
});

test("two right answers at once: neither complains, the session is signed in", async () => {
  const { csrf } = await atCode();
  let verified = false;
  tapcode.verify = async () => (verified ? { verified: false, reason: "no_active_code", attempts_left: 0 } : { verified: (verified = true) });
  tapcode.status = async () => (verified ? { ...SENT, verified: true } : SENT);
  const before = cookie;
  const first = open("/login/code", { csrf, code: "482916" });
  const again = { method: "POST", headers: { Cookie: before }, redirect: "manual", body: new URLSearchParams({ csrf, code: "482916" }) };
  const second = await fetch(`${base}/login/code`, again);
  assert.equal((await first).heading, "Hello");
  assert.deepEqual([second.status, second.headers.get("Location")], [303, "/"]);
  assert.equal(second.headers.getSetCookie().length, 0); // it lets nobody in by itself: the old session stays what it was
});

test("an empty field is no guess", async () => {
  tapcode.verify = () => assert.fail("it would be 400");
  const { csrf } = await atCode();
  const { notice, asks } = await open("/login/code", { csrf, code: "" });
  assert.match(notice, /not a whole code/);
  assert.ok(asks);
});

for (const [code, error] of [["unauthorized", AccessError], ["project_disabled", AccessError], ["unexpected_answer", UnexpectedAnswerError]]) {
  test(`${code} is said to be our fault, and the log says whose, where and why`, async () => {
    tapcode.request = fails(error, code);
    const { notice } = await atCode();
    assert.match(notice, /Something is wrong on our side/);
    assert.match(logged.join(), new RegExp(`tapcode at http://otp.example: ${code}: d`));
    assert.match(logged.join(), code === "project_disabled" ? /project enable/ : /TAPCODE_URL=…/);
  });
}

test("an error of tapcode that nobody catches is a 500 of the site", async () => {
  const other = express();
  other.get("/", () => fails(AccessError, "unauthorized", { httpStatus: 401 })());
  other.set("env", "test"); // Express would print it
  const listening = other.listen(0, "127.0.0.1");
  await once(listening, "listening");
  assert.equal((await fetch(`http://127.0.0.1:${listening.address().port}/`)).status, 500);
  listening.close();
  tapcode.request = () => Promise.reject(Object.assign(new Error("a bug"), { httpStatus: 401 }));
  const { error } = console;
  console.error = () => {};
  assert.equal((await atCode()).status, 500);
  console.error = error;
});

test("who only passes by gets no session, who begins a short one, who signs in a long one", async () => {
  for (const path of ["/", "/login/code", "/payment", "/style.css"]) {
    assert.equal((await fetch(base + path, { redirect: "manual" })).headers.getSetCookie().length, 0, path);
  }
  const days = ({ setCookie }) => (Date.parse(/Expires=([^;]+)/.exec(setCookie)[1]) - Date.now()) / 86_400_000;
  const begun = await open("/login");
  assert.ok(days(begun) < 0.03);
  await open("/login", { csrf: begun.csrf });
  const init = { method: "POST", headers: { Cookie: cookie }, redirect: "manual", body: new URLSearchParams({ csrf: begun.csrf, code: "482916" }) };
  assert.ok(days({ setCookie: (await fetch(`${base}/login/code`, init)).headers.getSetCookie()[0] }) > 6.9);
});

test("of the tabs of a session one waits at tapcode; the others are answered as it is", { timeout: 10_000 }, async () => {
  await atCode();
  tapcode.status = async () => ({ status: "pending" });
  let waits = 0;
  let over;
  const begun = new Promise((resolve) => (tapcode.wait = () => (waits++, resolve(), new Promise((done) => (over = done)))));
  const first = open("/login/status");
  await begun;
  assert.equal(JSON.parse((await open("/login/status")).html).state, "waiting");
  over(SENT);
  assert.equal(JSON.parse((await first).html).state, "enter");
  assert.equal(waits, 1);
  tapcode.wait = async () => SENT;
  assert.equal(JSON.parse((await open("/login/status")).html).state, "enter");
});

for (const [error, sentence, asks] of [
  [fails(ConflictError, "send_in_progress", { httpStatus: 409 }), /on its way already/, true],
  [fails(DeliveryError, "delivery_unknown", { httpStatus: 502 }), /It may have arrived/, true],
  [fails(DeliveryError, "delivery_failed", { httpStatus: 502 }), /did not take the message/, false],
  [fails(ConflictError, "subscriber_locked", { httpStatus: 409 }), /ask you to unlock/, false],
  [fails(RateLimitedError, "rate_limited", { httpStatus: 429, retryAfter: 30 }), /again in 30 seconds/, false],
  [fails(RateLimitedError, "rate_limited", { httpStatus: 429, retryAfter: 541 }), /again in 10 minutes/, false],
  [fails(UnavailableError, "messenger_unavailable", { httpStatus: 503 }), /not your fault/, false],
  [fails(NoAnswerError, "no_answer"), /may have arrived/, true],
]) {
  test(`a payment's code fails: ${sentence}`, async () => {
    tapcode.send = error;
    const { csrf } = await signedIn();
    const page = await open("/payment", { csrf });
    assert.match(page.notice, sentence);
    assert.equal(page.asks, asks);
  });
}

test("no payment without a code for it: that of this session's order, by a purpose of its own", async () => {
  const sent = [];
  const asked = [];
  const { csrf } = await signedIn();
  tapcode.send = async (what) => (sent.push(what), { sent: true });
  tapcode.verify = async (guess) => (asked.push(guess), { verified: true });
  assert.equal((await open("/payment/code", { csrf, code: "1" })).notice, "");
  assert.deepEqual([asked, sent], [[], []]);
  await open("/payment", { csrf, amount: "0.01 €", order: "0" });
  await open("/payment", { csrf }); // a new code, the same order
  assert.match((await open("/payment/code", { csrf, code: "1", amount: "0.01 €" })).notice, /Paid: 12.00 €/);
  const [{ purpose, context }] = sent;
  assert.match(purpose, /^pay-[0-9a-f]{16}$/);
  assert.deepEqual([context.amount, sent[1].purpose], ["12.00 €", purpose]);
  assert.deepEqual(asked, [{ subscriber_id: SUBSCRIBER, purpose, code: "1" }]);
  assert.equal((await open("/")).notice, "");
  await open("/payment", { csrf });
  assert.notEqual(sent[2].purpose, purpose);
});

test("accounts are not counted", () => {
  const [first, second] = [new Accounts(), new Accounts()].map((made) => made.ofVerified(SUBSCRIBER, "max"));
  assert.notEqual(first.id, second.id);
});

test("the browser learns a status and a sentence, and no ids", async () => {
  await atCode();
  const { html } = await open("/login/status");
  assert.deepEqual(JSON.parse(html), { state: "enter", heading: "Enter the code", tone: "good", text: "The code is in MAX. Enter it here." });
  tapcode.wait = fails(UnavailableError, "storage_unavailable", { httpStatus: 503 });
  assert.equal((await open("/login/status")).status, 503);
});

test("when the browser goes, tapcode is not asked any longer", async () => {
  await atCode();
  const gone = new AbortController();
  const ended = new Promise((resolve) => {
    tapcode.wait = (_, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => (reject(signal.reason), resolve("ended")));
        gone.abort();
      });
  });
  await assert.rejects(fetch(`${base}/login/status`, { headers: { Cookie: cookie }, signal: gone.signal }));
  assert.equal(await ended, "ended");
});
