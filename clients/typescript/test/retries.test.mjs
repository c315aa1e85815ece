// What is made again, when, and with which key.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AccessError, ConflictError, DeliveryError, NoAnswerError, RateLimitedError, UnexpectedAnswerError } from "tapcode-client";
import { answer, broken, client, problem, scripted, silent } from "./fakes.mjs";

const SENT = { sent: true, expires_in_seconds: 300 };
const SUBSCRIBER = "37bb1792-434b-4d18-bf58-354649e4d376";
const keys = (script) => script.calls.map((call) => call.headers["Idempotency-Key"]);
const send = ({ tapcode, clock }, options) => clock.run(tapcode.send({ subscriber_id: SUBSCRIBER }, options));

test("a lost answer is asked for again, with the same idempotency key", async () => {
  const script = scripted(broken, broken, answer(SENT));
  const made = client(script);
  assert.deepEqual(await send(made), SENT);
  assert.equal(new Set(keys(script)).size, 1);
  assert.match(keys(script)[0], /^[0-9a-f-]{36}$/);
  assert.deepEqual(made.clock.slept, [125, 250]);
});

test("each call has a key of its own, and a given one is used as it is", async () => {
  const script = scripted(answer(SENT));
  const made = client(script);
  await send(made);
  await send(made);
  await send(made, { idempotencyKey: "order-7" });
  assert.equal(new Set(keys(script)).size, 3);
  assert.equal(keys(script)[2], "order-7");
  await assert.rejects(send(made, { idempotencyKey: "two words" }), TypeError);
});

for (const [code, status] of [["rate_limited", 429], ["messenger_unavailable", 503], ["storage_unavailable", 503], ["idempotency_in_progress", 409]]) {
  test(`${code} is asked again after Retry-After, never before`, async () => {
    const script = scripted(problem(code, status, { retryable: true, retryAfter: 3 }), answer(SENT));
    const made = client(script);
    assert.deepEqual(await send(made), SENT);
    assert.deepEqual(made.clock.slept, [3125]);
    assert.equal(new Set(keys(script)).size, 1);
  });
}

for (const [code, status, kind] of [
  ["delivery_unknown", 502, DeliveryError],
  ["delivery_failed", 502, DeliveryError],
  ["unauthorized", 401, AccessError],
  ["subscriber_locked", 409, ConflictError],
  ["send_in_progress", 409, ConflictError],
]) {
  test(`${code} is not asked again`, async () => {
    const script = scripted(problem(code, status, { retryable: code === "send_in_progress", retryAfter: 1 }));
    await assert.rejects(send(client(script)), (error) => error instanceof kind && error.code === code && error.retryAfter === 1);
    assert.equal(script.calls.length, 1);
  });
}

test("what a proxy answers in the service's place counts as no answer", async () => {
  const script = scripted(answer("<h1>Bad gateway</h1>", 502), answer("{}", 504), answer(SENT));
  assert.deepEqual(await send(client(script)), SENT);
});

test("a page, a redirect and a success without JSON are no answers of the service, and not asked again", async () => {
  for (const strange of [answer("<h1>Hello</h1>"), answer("", 307, { Location: "https://elsewhere.example" }), answer("no", 404), answer("[]")]) {
    const script = scripted(strange);
    await assert.rejects(send(client(script)), UnexpectedAnswerError);
    assert.equal(script.calls.length, 1);
    assert.equal(script.calls[0].init.redirect, "manual");
  }
});

test("the last error is thrown when the tries are over, with what it says", async () => {
  const script = scripted(problem("messenger_unavailable", 503, { retryable: true, retryAfter: 1 }));
  const error = await send(client(script), { maxRetries: 2 }).catch((thrown) => thrown);
  assert.equal(script.calls.length, 3);
  const told = { code: error.code, detail: error.detail, httpStatus: error.httpStatus, requestId: error.requestId, retryAfter: error.retryAfter };
  assert.deepEqual(told, {
    code: "messenger_unavailable",
    detail: "About messenger_unavailable.",
    httpStatus: 503,
    requestId: "req-1",
    retryAfter: 1,
  });
  assert.equal(error.retryable, true);
  // Web frameworks answer their visitor with an error's `status` or `statusCode`: 401 there for a key of ours would be wrong.
  assert.ok(!("status" in error) && !("statusCode" in error));
  assert.equal(JSON.parse(JSON.stringify(error)).httpStatus, 503);
});

test("a Retry-After beyond the deadline is not waited for", async () => {
  const script = scripted(problem("rate_limited", 429, { retryable: true, retryAfter: 600 }));
  const made = client(script);
  await assert.rejects(send(made), (error) => error instanceof RateLimitedError && error.retryAfter === 600);
  assert.deepEqual([script.calls.length, made.clock.slept], [1, []]);
});

test("a Retry-After may be a date", async () => {
  const script = scripted(answer("", 503, { "Retry-After": new Date(1_700_000_000_000 + 4000).toUTCString() }), answer(SENT));
  const made = client(script);
  await send(made);
  assert.deepEqual(made.clock.slept, [4125]);
});

test("pauses grow up to five seconds", async () => {
  const made = client(scripted(broken), { random: () => 1, timeoutMs: 60_000, maxRetries: 7 });
  await assert.rejects(send(made), NoAnswerError);
  assert.deepEqual(made.clock.slept, [250, 500, 1000, 2000, 4000, 5000, 5000]);
});

test("one try ends after 20 seconds and the call after its deadline, although fetch listens to nothing", async () => {
  const script = scripted(silent);
  const made = client(script);
  const before = made.clock.now();
  await assert.rejects(send(made), (error) => error instanceof NoAnswerError && error.httpStatus === undefined);
  assert.equal(script.calls.length, 2);
  assert.equal(made.clock.now() - before, 30_000);
  assert.ok(script.calls.every((call) => call.signal.aborted));
});

test("a body that never ends counts too", async () => {
  const endless = () => new Response(new ReadableStream({}), { status: 200 });
  await assert.rejects(send(client(scripted(endless)), { timeoutMs: 5_000 }), NoAnswerError);
});

test("the caller's signal ends a call under way, a pause, and a call before it begins", async () => {
  const reason = new Error("the browser went away");
  const during = new AbortController();
  const cut = scripted(() => (during.abort(reason), silent()));
  await assert.rejects(send(client(cut), { signal: during.signal }), reason);
  assert.ok(cut.calls[0].signal.aborted);

  const pausing = new AbortController();
  const made = client(scripted(broken));
  made.clock.sleep = (ms) => (ms < 1000 ? (pausing.abort(reason), silent()) : silent());
  await assert.rejects(send(made, { signal: pausing.signal }), reason);

  const never = scripted(answer(SENT));
  await assert.rejects(send(client(never), { signal: AbortSignal.abort(reason) }), reason);
  assert.equal(never.calls.length, 0);
});

test("a delete whose answer was lost is done when the next one finds nothing; the first one that finds nothing says so", async () => {
  const gone = problem("subscriber_not_found", 404);
  const lost = client(scripted(broken, gone));
  assert.deepEqual(await lost.clock.run(lost.tapcode.subscribers.delete(SUBSCRIBER)), { subscriber_id: SUBSCRIBER, deleted: true });
  const unknown = client(scripted(gone));
  await assert.rejects(unknown.tapcode.subscribers.delete(SUBSCRIBER), { code: "subscriber_not_found" });
});

// ---- the long poll

const PENDING = { status: "pending", created_at: "x", expires_at: "x" };
const DONE = { ...PENDING, status: "sent", subscriber_id: SUBSCRIBER, channel: "max", sent_at: "x" };
const waits = (script) => script.calls.map((call) => new URL(call.url).searchParams.get("wait"));

/** As the service does it: the answer comes when the wait is over. */
const afterWait = (made, body) => (call) => {
  made.clock.pass(Number(new URL(call.url).searchParams.get("wait") ?? 0) * 1000);
  return answer(body)();
};

test("waitUntilSent waits 25 seconds at a time until it is sent", async () => {
  const script = scripted((call) => afterWait(made, PENDING)(call), (call) => afterWait(made, PENDING)(call), answer(DONE));
  const made = client(script);
  assert.deepEqual(await made.clock.run(made.tapcode.waitUntilSent("Kq9xV3mN2pT7rL8s")), DONE);
  assert.deepEqual(waits(script), ["25", "25", "25"]);
});

test("waitUntilSent comes back pending when its time is up", async () => {
  const script = scripted((call) => afterWait(made, PENDING)(call));
  const made = client(script);
  const before = made.clock.now();
  assert.deepEqual(await made.clock.run(made.tapcode.waitUntilSent("Kq9xV3mN2pT7rL8s", { timeoutMs: 40_500 })), PENDING);
  assert.deepEqual(waits(script), ["25", "15"]);
  assert.equal(made.clock.now() - before, 40_000);
});

test("a wait that is cut short is not begun again at once", async () => {
  const made = client(scripted(answer(PENDING), answer(PENDING), answer(DONE)));
  await made.clock.run(made.tapcode.waitUntilSent("Kq9xV3mN2pT7rL8s"));
  assert.deepEqual(made.clock.slept, [1000, 1000]);
});

test("waitUntilSent outlasts an outage that is longer than any call's tries", async () => {
  const made = client(scripted(...Array(12).fill(broken), answer(DONE)));
  assert.equal((await made.clock.run(made.tapcode.waitUntilSent("Kq9xV3mN2pT7rL8s"))).status, "sent");
});

test("waitUntilSent throws what can't be waited out, and the outage when that lasts to the end", async () => {
  const unknown = client(scripted(problem("request_not_found", 404)));
  await assert.rejects(unknown.clock.run(unknown.tapcode.waitUntilSent("Kq9xV3mN2pT7rL8s")), { code: "request_not_found" });
  const down = client(scripted(broken));
  await assert.rejects(down.clock.run(down.tapcode.waitUntilSent("Kq9xV3mN2pT7rL8s", { timeoutMs: 20_000 })), NoAnswerError);
});
