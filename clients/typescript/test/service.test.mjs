// Against the real service, started here on loopback with a key of test mode: no messenger is reached, nobody gets a message.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, openSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConflictError, DeliveryError, InvalidCallError, NotFoundError, Tapcode, testCode, testSubscribers, verifyEvent } from "tapcode-client";

const REPO = process.env.TAPCODE_REPO;
const PYTHON = join(REPO, ".venv/bin/python");
const folder = mkdtempSync(join(tmpdir(), "tapcode-client-"));
let service, access, tapcode;

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

before(
  async () => {
    const port = await freePort();
    const env = {
      PATH: process.env.PATH,
      HOME: folder,
      PORT: String(port),
      SECRET_KEYS: "k".repeat(40),
      MAX_BOT_TOKEN: "a-token-of-the-tests",
      MAX_API_URL: "http://127.0.0.1:9", // nobody listens there
      MAX_BOT_USERNAME: "id1_bot",
      PROJECT_NAME: "Shop",
      PROJECT_API_KEY: `tc_live_${"t".repeat(40)}`,
      EVENTS_ALLOW_PRIVATE: "true",
    };
    const log = openSync(join(folder, "log"), "a");
    service = spawn(PYTHON, [join(REPO, "main.py"), "serve"], { cwd: folder, env, stdio: ["ignore", log, log] });
    const baseUrl = `http://127.0.0.1:${port}`;
    for (let tries = 0; !(await fetch(`${baseUrl}/readyz`).catch(() => null))?.ok; tries++) {
      assert.ok(service.exitCode === null && tries < 300, readFileSync(join(folder, "log"), "utf8"));
      await sleep(100);
    }
    const command = (...args) => {
      const done = spawnSync(PYTHON, [join(REPO, "main.py"), "project", ...args, "--json"], { cwd: folder, env, encoding: "utf8" });
      assert.equal(done.status, 0, done.stderr);
      return JSON.parse(done.stdout);
    };
    const [project] = command("list");
    access = { baseUrl, apiKey: command("rotate-key", project.id, "--test").api_key };
    tapcode = new Tapcode(access);
  },
  { timeout: 60_000 },
);

after(async () => {
  if (service.exitCode === null) {
    service.kill();
    await once(service, "exit");
  }
  rmSync(folder, { recursive: true });
});

async function sent(params) {
  const request = await tapcode.request(params);
  const status = await tapcode.test.consent(request.request_id);
  assert.equal(status.status, "sent");
  return { request, status };
}

test("a login, from the request to verified", async () => {
  const request = await tapcode.request({ ttl_minutes: 10, context: { action: "Sign in" } });
  assert.equal(request.max_link, `https://max.ru/id1_bot?start=otp_${request.request_id}`);
  assert.match(request.pairing_code, /^\w{4}-\w{4}$/);
  assert.deepEqual(request.channels, { telegram: "off", max: "ok" });
  const waiting = tapcode.waitUntilSent(request.request_id, { timeoutMs: 20_000 });
  await tapcode.test.consent(request.request_id);
  const status = await waiting;
  assert.equal(status.status, "sent");
  const guess = { subscriber_id: status.subscriber_id, request_id: request.request_id };
  assert.deepEqual(await tapcode.verify({ ...guess, code: "000000" }), { verified: false, reason: "wrong_code", attempts_left: 2, test: true });
  assert.deepEqual(await tapcode.verify({ ...guess, code: testCode() }), { verified: true, test: true });
  assert.equal((await tapcode.verify({ ...guess, code: testCode() })).reason, "no_active_code");
});

test("the messengers that work are asked for by one word", async () => {
  const request = await tapcode.request({ channel: "auto" });
  assert.equal(request.telegram_link, null);
  assert.match(request.max_link, /^https:\/\/max\.ru\//);
});

test("a phone number that no messenger here could prove is not asked for, and not played", async () => {
  await assert.rejects(tapcode.request({ phone: "ask" }), { code: "phone_unavailable", httpStatus: 409 });
  const { request } = await sent({});
  for (const act of ["phone", "skip"]) await assert.rejects(tapcode.test[act](request.request_id), { code: "request_not_pending" });
});

test("the same idempotency key is the same call", async () => {
  const options = { idempotencyKey: "one-and-the-same" };
  assert.deepEqual(await tapcode.request({}, options), await tapcode.request({}, options));
  await assert.rejects(tapcode.request({ ttl_minutes: 1 }, options), (error) => error instanceof InvalidCallError && error.code === "idempotency_mismatch");
});

test("an answer that got lost on the way is the answer: the guess counts once, and true stays true", async () => {
  let lose = true;
  const losing = async (url, init) => {
    const answer = await fetch(url, init);
    if (!lose) return answer;
    lose = false;
    throw new TypeError("the line is dead");
  };
  const { request, status } = await sent({});
  const unlucky = new Tapcode({ ...access, fetch: losing });
  const verdict = await unlucky.verify({ subscriber_id: status.subscriber_id, request_id: request.request_id, code: testCode() });
  assert.equal(lose, false);
  assert.equal(verdict.verified, true);
});

test("send, and what comes of it for each of the fixed subscribers", async () => {
  const send = (subscriber_id, options) => tapcode.send({ subscriber_id, ttl_minutes: 5 }, options);
  assert.deepEqual(await send(testSubscribers.delivered), { sent: true, expires_in_seconds: 300, test: true });
  const refused = { maxRetries: 0 };
  await assert.rejects(send(testSubscribers.blocked), (error) => error instanceof NotFoundError && error.code === "subscriber_not_found");
  await assert.rejects(send(testSubscribers.rateLimited, refused), (error) => error.code === "rate_limited" && error.retryAfter > 0);
  await assert.rejects(send(testSubscribers.messengerDown, refused), (error) => error.code === "messenger_unavailable" && error.retryable);
  await assert.rejects(send(testSubscribers.deliveryUnknown), (error) => error instanceof DeliveryError && error.code === "delivery_unknown");
  await assert.rejects(send(testSubscribers.locked), (error) => error instanceof ConflictError && error.code === "subscriber_locked");
});

test("the ends of a request: cancelled by the site, by the person, reported, expired", async () => {
  const [byUs, byPerson, ended] = [await tapcode.request(), await tapcode.request(), await tapcode.request()];
  assert.equal((await tapcode.cancel(byUs.request_id)).status, "cancelled");
  assert.equal((await tapcode.test.cancel(byPerson.request_id)).status, "cancelled");
  assert.equal((await tapcode.test.expire(ended.request_id)).status, "expired");
  await assert.rejects(tapcode.cancel(ended.request_id), { code: "request_not_pending", httpStatus: 409 });
  const { request } = await sent({});
  const reported = await tapcode.test.report(request.request_id);
  assert.equal(reported.reported, true);
  assert.equal((await tapcode.waitUntilSent(byUs.request_id)).status, "cancelled");
});

test("a wait comes back as it is when nothing happens", async () => {
  const { request_id } = await tapcode.request();
  assert.equal((await tapcode.wait(request_id, { seconds: 1 })).status, "pending");
  const gone = new AbortController();
  const waiting = tapcode.waitUntilSent(request_id, { signal: gone.signal });
  gone.abort(new Error("the browser went away"));
  await assert.rejects(waiting, /went away/);
});

test("subscribers are told and forgotten, codes revoked", async () => {
  const { status } = await sent({ external_id: "user-4711" });
  const told = await tapcode.subscribers.get(status.subscriber_id);
  assert.deepEqual([told.channel, told.locked], [status.channel, false]);
  assert.equal((await tapcode.revoke({ subscriber_id: status.subscriber_id })).revoked, true);
  assert.equal((await tapcode.revoke({ subscriber_id: status.subscriber_id })).revoked, false);
  assert.equal((await tapcode.subscribers.delete(status.subscriber_id)).deleted, true);
  await assert.rejects(tapcode.subscribers.delete(status.subscriber_id), { code: "subscriber_not_found" });
});

test("what is not valid is named by field, and carries the id that stands in the log", async () => {
  const error = await tapcode.request({ ttl_minutes: 31 }).catch((thrown) => thrown);
  assert.ok(error instanceof InvalidCallError);
  assert.deepEqual(error.errors.map((one) => one.field), ["ttl_minutes"]);
  assert.match(error.requestId, /./);
  const logged = () => readFileSync(join(folder, "log"), "utf8").includes(error.requestId);
  for (let tries = 0; !logged(); tries++) assert.ok((await sleep(20), tries < 250)); // the log is written a moment later
  const stranger = new Tapcode({ ...access, apiKey: `tc_test_${"x".repeat(40)}` });
  await assert.rejects(stranger.request(), { code: "unauthorized", httpStatus: 401 });
});

test("an empty field is not valid, and the message names it", async () => {
  const { request_id } = await tapcode.request();
  const { subscriber_id } = await tapcode.test.consent(request_id);
  const error = await tapcode.verify({ subscriber_id, request_id, code: "" }).catch((thrown) => thrown);
  assert.deepEqual([error.code, error.httpStatus], ["validation_failed", 400]);
  assert.match(error.message, / \(code\)$/);
});

test("events arrive, are believed by either secret of a rotation, and told again", async () => {
  const heard = [];
  let arrived = () => {};
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      heard.push({ body: Buffer.concat(chunks), headers: request.headers });
      response.writeHead(204).end();
      arrived();
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const next = () => new Promise((resolve) => (arrived = () => resolve(heard.at(-1))));
  try {
    const webhook = await tapcode.webhooks.create({ url: `http://127.0.0.1:${server.address().port}/tapcode`, events: ["otp.sent"] });
    assert.deepEqual((await tapcode.webhooks.list()).webhooks.map((one) => one.id), [webhook.id]);
    const rotated = await tapcode.webhooks.rotateSecret(webhook.id);
    const arriving = next();
    const { request } = await sent({});
    const { body, headers } = await arriving;
    for (const secret of [webhook.secret, rotated.secret]) {
      const event = await verifyEvent(body, headers, { secret });
      assert.deepEqual([event.type, event.data.request_id, event.data.test], ["otp.sent", request.request_id, true]);
    }
    await assert.rejects(verifyEvent(body, headers, { secret: "whsec_AAAA" }), { code: "no_matching_signature" });
    const { events } = await tapcode.events.list({ webhook_id: webhook.id, limit: 1 });
    assert.equal(events[0].id, headers["webhook-id"]);
    const again = next();
    assert.equal((await tapcode.events.redeliver(events[0].id, { webhook_id: webhook.id })).webhooks, 1);
    assert.equal((await again).headers["webhook-id"], events[0].id);
    assert.equal((await tapcode.webhooks.enable(webhook.id)).status, "enabled");
    assert.equal((await tapcode.webhooks.delete(webhook.id)).deleted, true);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});
