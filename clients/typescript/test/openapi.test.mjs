// The client says what the service's OpenAPI document says: every call, every field, every error.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { answer, client, KEY, problem, scripted } from "./fakes.mjs";

const document = JSON.parse(readFileSync(`${process.env.TAPCODE_REPO}/docs/openapi.json`, "utf8"));
const dist = new URL(".", import.meta.resolve("tapcode-client"));
const declared = readFileSync(new URL("types.d.ts", dist), "utf8");
const manifest = JSON.parse(readFileSync(new URL("../package.json", dist), "utf8"));

const ID = "Kq9xV3mN2pT7rL8s";
const CALLS = {
  sendCode: (tapcode) => tapcode.send({ external_id: "ann" }),
  verifyCode: (tapcode) => tapcode.verify({ external_id: "ann", code: "1" }),
  requestCode: (tapcode) => tapcode.request(),
  cancelRequest: (tapcode) => tapcode.cancel(ID),
  revokeCode: (tapcode) => tapcode.revoke({ subscriber_id: ID }),
  requestStatus: (tapcode) => tapcode.status(ID),
  readSubscriber: (tapcode) => tapcode.subscribers.get(ID),
  forgetSubscriber: (tapcode) => tapcode.subscribers.delete(ID),
  playConsent: (tapcode) => tapcode.test.consent(ID),
  playCancel: (tapcode) => tapcode.test.cancel(ID),
  playReport: (tapcode) => tapcode.test.report(ID),
  playPhone: (tapcode) => tapcode.test.phone(ID),
  playSkip: (tapcode) => tapcode.test.skip(ID),
  playExpire: (tapcode) => tapcode.test.expire(ID),
  createWebhook: (tapcode) => tapcode.webhooks.create({ url: "https://shop.example" }),
  listWebhooks: (tapcode) => tapcode.webhooks.list(),
  deleteWebhook: (tapcode) => tapcode.webhooks.delete(ID),
  rotateWebhookSecret: (tapcode) => tapcode.webhooks.rotateSecret(ID),
  enableWebhook: (tapcode) => tapcode.webhooks.enable(ID),
  listEvents: (tapcode) => tapcode.events.list(),
  redeliverEvent: (tapcode) => tapcode.events.redeliver(ID),
};

/** Called by others than a site's backend: Ory Kratos. */
const NOT_OURS = ["/v1/kratos/courier"];

const operations = Object.entries(document.paths)
  .filter(([path]) => path.startsWith("/v1/") && !NOT_OURS.includes(path))
  .flatMap(([path, methods]) => Object.entries(methods).map(([method, { operationId }]) => ({ path, method, operationId })));

test("every operation has a method that calls it, with the key, and with an idempotency key where it is a POST", async () => {
  assert.deepEqual(operations.map((one) => one.operationId).sort(), Object.keys(CALLS).sort());
  for (const { path, method, operationId } of operations) {
    const script = scripted(answer({}));
    await CALLS[operationId](client(script).tapcode);
    const [call] = script.calls;
    assert.equal(call.method, method.toUpperCase(), operationId);
    assert.equal(call.url, `http://otp.example${path.replace(/\{\w+\}/, ID)}`, operationId);
    assert.equal(call.headers.Authorization, `Bearer ${KEY}`);
    assert.equal("Idempotency-Key" in call.headers, call.method === "POST", operationId);
    assert.equal(call.headers["Content-Type"], call.method === "POST" ? "application/json" : undefined);
  }
});

test("what is given goes into body and query, and ids stay one segment of the path", async () => {
  const script = scripted(answer({}));
  const { tapcode } = client(script, { baseUrl: "http://otp.example/behind/" });
  await tapcode.request({ channel: "max", context: { action: "Sign in" } });
  await tapcode.events.list({ status: "failed", limit: 5 });
  await tapcode.wait(ID, { seconds: 3 });
  await tapcode.subscribers.get("../x?y");
  assert.deepEqual(script.calls[0].body, { channel: "max", context: { action: "Sign in" } });
  assert.deepEqual(
    script.calls.slice(1).map((call) => call.url),
    [
      "http://otp.example/behind/v1/events?status=failed&limit=5",
      `http://otp.example/behind/v1/otp/request/${ID}/status?wait=3`,
      "http://otp.example/behind/v1/subscribers/..%2Fx%3Fy",
    ],
  );
  for (const id of ["", "..", undefined]) assert.throws(() => tapcode.status(id), TypeError);
});

// ---- fields

/** The fields of an interface and whether each must be there; those of a union are put together. */
function fieldsOf(...names) {
  const found = {};
  for (const name of names) {
    const [, parents = "", inside] = new RegExp(`interface ${name}(?: extends (\\w+))? \\{([\\s\\S]*?)\\n\\}`).exec(declared) ?? assert.fail(name);
    if (parents) Object.assign(found, fieldsOf(parents));
    for (const [, field, optional] of inside.matchAll(/^ {4}(\w+)(\??):/gm)) found[field] = optional === "";
  }
  return found;
}

const SHAPES = {
  ContextBody: ["Context"],
  RequestBody: ["RequestParams"],
  SendBody: ["SendOptions"],
  VerifyBody: ["VerifyOptions"],
  RevokeBody: ["RevokeParams"],
  WebhookBody: ["WebhookParams"],
  Requested: ["OtpRequest"],
  Sent: ["Sent"],
  Verified: ["Verified"],
  NotVerified: ["NotVerified"],
  Cancelled: ["Cancelled"],
  Revoked: ["Revoked"],
  SubscriberState: ["Subscriber"],
  Forgotten: ["DeletedSubscriber"],
  Webhook: ["Webhook"],
  NewWebhook: ["NewWebhook"],
  WebhookList: ["WebhookList"],
  DeletedWebhook: ["DeletedWebhook"],
  RotatedSecret: ["RotatedSecret"],
  ListedEvent: ["ListedEvent"],
  EventList: ["EventList"],
  Redelivered: ["Redelivered"],
};
const WHOM = ["subscriber_id", "external_id"];

for (const [schema, interfaces] of Object.entries(SHAPES)) {
  test(`${interfaces} has the fields of ${schema}`, () => {
    const { properties, required = [], oneOf } = document.components.schemas[schema];
    const told = Object.keys(properties).filter((name) => !oneOf || !WHOM.includes(name));
    assert.deepEqual(fieldsOf(...interfaces), Object.fromEntries(told.map((name) => [name, required.includes(name)])));
  });
}

test("the four statuses have the fields of Status, and no others", () => {
  const { properties } = document.components.schemas.Status;
  const fields = fieldsOf("PendingStatus", "SentStatus", "CancelledStatus", "ExpiredStatus");
  assert.deepEqual(Object.keys(fields).sort(), Object.keys(properties).sort());
  assert.deepEqual(fieldsOf("PendingStatus"), { test: false, created_at: true, expires_at: true, status: true });
});

test("the types of events are the service's", () => {
  const types = [...declared.matchAll(/"((?:otp|subscriber)\.\w+)": Of/g)].map(([, type]) => type);
  assert.deepEqual(types.sort(), [...document.components.schemas.SentEvent.properties.type.enum].sort());
});

test("the codes of errors are those that the service's table has, each an error of its status", async () => {
  const table = readFileSync(`${process.env.TAPCODE_REPO}/api/problems.py`, "utf8");
  const problems = [...table.matchAll(/^ {4}"(\w+)": \((\d{3}), /gm)].map(([, code, status]) => [code, Number(status)]);
  assert.ok(problems.length > 20);
  const known = readFileSync(new URL("errors.d.ts", dist), "utf8").match(/type ProblemCode = ([^;]*);/)[1];
  assert.deepEqual([...known.matchAll(/"(\w+)"/g)].map(([, code]) => code).sort(), problems.map(([code]) => code).sort());
  for (const [code, status] of problems) {
    const { tapcode } = client(scripted(problem(code, status)), { maxRetries: 0 });
    const error = await tapcode.request().catch((thrown) => thrown);
    assert.deepEqual([error.code, error.httpStatus], [code, status]);
    assert.notEqual(error.name, "ProblemError", `${code} has a class of its own kind`);
  }
});

test("the package needs nothing and calls itself by its version", async () => {
  assert.equal(manifest.dependencies, undefined);
  const script = scripted(answer({}));
  await client(script).tapcode.request();
  assert.equal(script.calls[0].headers["User-Agent"], `tapcode-client-typescript/${manifest.version}`);
});
