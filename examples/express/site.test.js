// What the site makes of failures, with a tapcode that fails as it is told to.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, beforeEach, test } from "node:test";
import { ConflictError, DeliveryError, NoAnswerError, RateLimitedError, UnavailableError } from "tapcode-client";
import { Accounts } from "./accounts.js";
import { siteOf } from "./site.js";

const SUBSCRIBER = "37bb1792-434b-4d18-bf58-354649e4d376";
const REQUEST = { request_id: "Kq9xV3mN2pT7rL8s", telegram_link: null, max_link: "https://max.ru/id1_bot?start=otp_x", pairing_code: "7KQ2-M9TX" };
const SENT = { status: "sent", subscriber_id: SUBSCRIBER, channel: "max" };
const fails = (Kind, code, more = {}) => () => Promise.reject(new Kind({ code, detail: "d", ...more }));

let server, base, tapcode, accounts, cookie;

before(async () => {
  console.warn = () => {};
  const asked = { get: (_, name) => (...args) => tapcode[name](...args) };
  const found = { ofVerified: (...args) => accounts.ofVerified(...args), byId: (id) => accounts.byId(id) };
  server = siteOf({ tapcode: new Proxy({}, asked), accounts: found, sessionSecret: "s".repeat(32), live: false }).listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${server.address().port}`;
});
after(() => (server.close(), server.closeAllConnections()));
beforeEach(() => {
  cookie = "";
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
  const part = (pattern) => pattern.exec(html)?.[1];
  const asks = html.includes('name="code"') && !html.includes('id="enter" hidden');
  return { status: answer.status, html, csrf: part(/name="csrf" value="(\w+)"/), notice: part(/id="notice">([^<]*)</), heading: part(/<h1>([^<]*)</), asks };
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
    assert.equal((await signedIn()).heading, "Enter the code");
    assert.equal((await open("/")).heading, "Sign in");
    assert.equal(accounts.byId(1), undefined);
  }
});

test("while a request is pending a code can't be checked, and the page says what helps", async () => {
  tapcode.status = async () => ({ status: "pending" });
  tapcode.verify = () => assert.fail("there is no subscriber yet");
  const { notice, asks } = await signedIn();
  assert.match(notice, /press “Send again” there/);
  assert.ok(asks);
});

for (const [status, sentence] of [
  [{ status: "cancelled" }, /cancelled in the chat/],
  [{ status: "expired" }, /15 minutes of this link are over/],
  [{ ...SENT, reported: true }, /It wasn’t me/],
]) {
  test(`${JSON.stringify(status).slice(0, 30)}: the field goes, a new link is offered`, async () => {
    tapcode.status = async () => status;
    const { notice, asks, html } = await atCode();
    assert.match(notice, sentence);
    assert.ok(!asks);
    assert.match(html, /class="main">Get a new link/);
  });
}

for (const [error, sentence, asks] of [
  [fails(ConflictError, "send_in_progress", { status: 409 }), /on its way already/, true],
  [fails(DeliveryError, "delivery_unknown", { status: 502 }), /It may have arrived/, true],
  [fails(DeliveryError, "delivery_failed", { status: 502 }), /did not take the message/, false],
  [fails(ConflictError, "subscriber_locked", { status: 409 }), /ask you to unlock/, false],
  [fails(RateLimitedError, "rate_limited", { status: 429, retryAfter: 30 }), /again in 30 seconds/, false],
  [fails(RateLimitedError, "rate_limited", { status: 429, retryAfter: 541 }), /again in 10 minutes/, false],
  [fails(UnavailableError, "messenger_unavailable", { status: 503 }), /not your fault/, false],
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

test("no payment without a code for it", async () => {
  const asked = [];
  const { csrf } = await signedIn();
  tapcode.verify = async (guess) => (asked.push(guess), { verified: true });
  assert.equal((await open("/payment/code", { csrf, code: "1" })).notice, "");
  assert.deepEqual(asked, []);
  await open("/payment", { csrf });
  assert.match((await open("/payment/code", { csrf, code: "1" })).notice, /Paid/);
  assert.deepEqual(asked, [{ subscriber_id: SUBSCRIBER, purpose: "payment", code: "1" }]);
  assert.equal((await open("/")).notice, "");
});

test("the browser learns a status and a sentence, and no ids", async () => {
  await atCode();
  const { html } = await open("/login/status");
  assert.deepEqual(JSON.parse(html), { status: "sent", tone: "good", text: "The code is in MAX. Enter it here." });
  tapcode.wait = fails(UnavailableError, "storage_unavailable", { status: 503 });
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
