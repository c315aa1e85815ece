// What is secret stands in no log, whoever writes it and how.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Tapcode, verifyEvent } from "tapcode-client";
import { broken, client, KEY, problem, scripted } from "./fakes.mjs";

const shown = (value) => [inspect(value, { depth: 10, showHidden: true, getters: true }), JSON.stringify(value), String(value), value?.stack ?? ""].join("\n");

test("a client shows where it goes, and no key", () => {
  const { tapcode } = client(scripted(broken));
  const text = shown(tapcode) + ["subscribers", "webhooks", "events", "test"].map((part) => shown(tapcode[part])).join("");
  assert.ok(!text.includes(KEY));
  assert.equal(inspect(tapcode), 'Tapcode { baseUrl: "http://otp.example" }');
  assert.equal(JSON.stringify({ tapcode }), '{"tapcode":{"baseUrl":"http://otp.example"}}');
});

test("an error of the line or of the service shows neither key nor code", async () => {
  for (const answers of [broken, problem("unauthorized", 401)]) {
    const { tapcode } = client(scripted(answers), { maxRetries: 0 });
    const error = await tapcode.verify({ external_id: "ann", code: "482916" }).catch((thrown) => thrown);
    assert.ok(!shown(error).includes(KEY));
    assert.ok(!shown(error).includes("482916"));
    assert.equal(JSON.parse(JSON.stringify(error)).code, error.code);
  }
});

test("what is not valid is named by its field, never by what was in it", async () => {
  const errors = [{ field: "code", message: "got 482916" }, { field: "context.ip", message: "no" }, { field: "code", message: "no" }, { field: "482916", message: "no" }];
  const { tapcode } = client(scripted(problem("validation_failed", 400, { errors })));
  const error = await tapcode.verify({ external_id: "ann", code: "482916" }).catch((thrown) => thrown);
  assert.equal(error.message, "validation_failed: About validation_failed. (code, context.ip)");
  assert.equal(error.detail, "About validation_failed.");
  const strange = client(scripted(problem("validation_failed", 400, { errors: "none" }))).tapcode;
  await assert.rejects(strange.request(), { message: "validation_failed: About validation_failed.", errors: [] });
});

test("the kind of a failure of the line is told in a word", async () => {
  const { tapcode } = client(scripted(broken), { maxRetries: 0 });
  await assert.rejects(tapcode.webhooks.list(), { code: "no_answer", detail: "http://otp.example gave no answer (ECONNREFUSED)" });
});

test("what is refused at once is not repeated in the refusal", async () => {
  const sound = { baseUrl: "http://otp.example", apiKey: KEY };
  const refused = [
    () => new Tapcode({ ...sound, apiKey: `${KEY}\n` }),
    () => new Tapcode({ ...sound, apiKey: undefined }),
    () => new Tapcode({ ...sound, baseUrl: "http://ann:secret-word@otp.example" }),
    () => new Tapcode({ ...sound, baseUrl: "otp.example/secret-word" }),
    () => new Tapcode({ ...sound, baseUrl: "ftp://secret-word" }),
  ];
  for (const make of refused) assert.throws(make, (error) => error instanceof TypeError && !/secret-word|tc_test/.test(shown(error)));
  await assert.rejects(verifyEvent("{}", {}, { secret: "whsec_secret-word" }), (error) => !shown(error).includes("secret-word"));
});
