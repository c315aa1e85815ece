// Events: what is believed, and what is not.

import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";
import { EventVerificationError, verifyEvent } from "tapcode-client";

const NOW = 1_700_000_000_000;
const ID = "evt_019acdd2b1c200008f3a1b2c4d5e6f70";
const SECRET = `whsec_${randomBytes(32).toString("base64")}`;
const OTHER = `whsec_${randomBytes(32).toString("base64")}`;
const EVENT = {
  type: "otp.verified",
  timestamp: "2026-11-29T03:15:00.250Z",
  data: { subscriber_id: "37bb1792-434b-4d18-bf58-354649e4d376", channel: "telegram", purpose: "login" },
};
const BODY = JSON.stringify(EVENT);
const seconds = NOW / 1000;

// By node:crypto, so that the client is not judged by itself.
function signature(secret, body = BODY, timestamp = seconds) {
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  return `v1,${createHmac("sha256", key).update(`${ID}.${timestamp}.${body}`).digest("base64")}`;
}

const headers = (signatures, timestamp = seconds) => ({
  "webhook-id": ID,
  "webhook-timestamp": String(timestamp),
  "webhook-signature": signatures,
});
const verify = (signatures, { body = BODY, secret = SECRET, timestamp = seconds, ...more } = {}) =>
  verifyEvent(body, headers(signatures, timestamp), { secret, now: () => NOW, ...more });
const refusedAs = (code) => (error) => error instanceof EventVerificationError && error.code === code;

test("an event that is signed is told with its id", async () => {
  assert.deepEqual(await verify(signature(SECRET)), { id: ID, ...EVENT });
});

test("bytes and text, a Headers and Node's headers in any case are all taken", async () => {
  const signed = headers(signature(SECRET));
  const options = { secret: SECRET, now: () => NOW };
  const upper = Object.fromEntries(Object.entries(signed).map(([name, value]) => [name.toUpperCase(), [value]]));
  for (const given of [new Headers(signed), upper]) {
    for (const body of [BODY, new TextEncoder().encode(BODY), Buffer.from(BODY)]) {
      assert.equal((await verifyEvent(body, given, options)).type, "otp.verified");
    }
  }
});

test("under a rotation one of two signatures is enough, and so is one of two secrets", async () => {
  const both = `${signature(OTHER)} ${signature(SECRET)}`;
  assert.equal((await verify(both)).id, ID);
  assert.equal((await verify(both, { secret: OTHER })).id, ID);
  assert.equal((await verify(signature(SECRET), { secret: [OTHER, SECRET] })).id, ID);
});

test("another secret, another body and strange signatures are refused", async () => {
  const foreign = [signature(OTHER), signature(SECRET, "{}"), signature(SECRET).replace("v1,", "v2,"), "v1,", "v1,!!!", "v1", `v1a,${signature(SECRET)}`];
  for (const signatures of foreign) await assert.rejects(verify(signatures), refusedAs("no_matching_signature"));
  await assert.rejects(verify(signature(SECRET), { body: `${BODY} ` }), refusedAs("no_matching_signature"));
});

test("five minutes back and ahead are taken, and no second more", async () => {
  for (const off of [-300, 300]) {
    const timestamp = seconds + off;
    assert.equal((await verify(signature(SECRET, BODY, timestamp), { timestamp })).id, ID);
    const beyond = timestamp + Math.sign(off);
    await assert.rejects(verify(signature(SECRET, BODY, beyond), { timestamp: beyond }), refusedAs("bad_timestamp"));
  }
  for (const timestamp of ["soon", "-1", "1e9", "0x10"]) {
    await assert.rejects(verify(signature(SECRET, BODY, timestamp), { timestamp }), refusedAs("bad_timestamp"));
  }
});

test("a header that is missing is named before anything is computed", async () => {
  for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
    const without = { ...headers(signature(SECRET)), [name]: undefined };
    await assert.rejects(verifyEvent(BODY, without, { secret: SECRET, now: () => NOW }), refusedAs("missing_header"));
  }
});

test("a type of a later version is told as unknown, and what is no event is refused", async () => {
  for (const type of ["otp.danced", "toString"]) {
    const body = JSON.stringify({ ...EVENT, type });
    const told = await verify(signature(SECRET, body), { body });
    assert.deepEqual([told.type, told.unknown_type], ["unknown", type]);
  }
  for (const body of ["", "[]", "null", "{}", '{"type":"otp.sent","timestamp":"x","data":null}']) {
    await assert.rejects(verify(signature(SECRET, body), { body }), refusedAs("not_an_event"));
  }
});

test("a secret that is none is a mistake of the program", async () => {
  for (const secret of ["", "whsec_", "whsec_***"]) await assert.rejects(verify(signature(SECRET), { secret }), TypeError);
});
