// What the one who starts the shop is told, by a process of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

const KEY = `tc_test_${"k".repeat(40)}`;
let service, settings, answer;

before(async () => {
  service = createServer((_, res) => answer(res)).listen(0, "127.0.0.1");
  await once(service, "listening");
  settings = { PATH: process.env.PATH, TAPCODE_API_KEY: KEY, TAPCODE_URL: `http://127.0.0.1:${service.address().port}`, SHOP_PORT: "0" };
});
after(() => (service.close(), service.closeAllConnections()));

const problem = (code, status) => (res) => {
  res.writeHead(status, { "Content-Type": "application/problem+json", "X-Request-Id": "req-1" });
  res.end(JSON.stringify({ code, status, detail: `About ${code}.`, retryable: false }));
};

/** Everything that the shop says until it ends, until so much of it was said, or until a promise is kept. */
async function said(env, enough) {
  const shop = spawn(process.execPath, [new URL("server.js", import.meta.url).pathname], { env: { ...settings, ...env } });
  let text = "";
  for (const stream of [shop.stdout, shop.stderr]) {
    stream.on("data", (more) => {
      text += more;
      if (enough instanceof RegExp && enough.test(text)) shop.kill();
    });
  }
  if (enough instanceof Promise) enough.then(() => shop.kill());
  const [code] = await once(shop, "close");
  return { text, code };
}

test("a key that tapcode does not know is told at the start, loudly, with a hint and without the key", async () => {
  answer = problem("unauthorized", 401);
  const { text } = await said({}, /TAPCODE_URL=…/);
  assert.match(text, /BUT NOBODY CAN SIGN IN/);
  assert.match(text, new RegExp(`tapcode at ${settings.TAPCODE_URL}: unauthorized: About unauthorized. \\(request req-1\\)`));
  assert.match(text, /started again.*KEY=…, TAPCODE_URL=…/);
  assert.ok(!text.includes(KEY));
});

test("so is an address where something else listens, or nothing", async () => {
  answer = (res) => res.end("<h1>Hello</h1>");
  assert.match((await said({}, /TAPCODE_URL=…/)).text, /Something else listens there/);
  answer = (res) => res.destroy();
  assert.match((await said({}, /TAPCODE_URL=…/)).text, /Does tapcode run/);
});

test("a key that is known is not spoken of, and PORT is not the shop's", async () => {
  const asked = new Promise((resolve) => (answer = (res) => (problem("request_not_found", 404)(res), setTimeout(resolve, 150))));
  const { text } = await said({ PORT: new URL(settings.TAPCODE_URL).port, SESSION_SECRET: "" }, asked);
  assert.match(text, /The shop is open/);
  assert.ok(!text.includes("BUT"));
});

for (const [why, env, sentence] of [
  ["a short SESSION_SECRET", () => ({ SESSION_SECRET: "s".repeat(31) }), /^SESSION_SECRET is too short.*\n$/],
  ["no SESSION_SECRET in production", () => ({ NODE_ENV: "production" }), /^SESSION_SECRET is missing.*\n$/],
  ["a port that is in use", () => ({ SHOP_PORT: new URL(settings.TAPCODE_URL).port }), /^Port \d+ is in use.*SHOP_PORT=3001.*\n$/],
  ["a port that is none", () => ({ SHOP_PORT: "http" }), /^SHOP_PORT must be a port.*\n$/],
  ["no address", () => ({ TAPCODE_URL: "localhost" }), /^TAPCODE_URL.*baseUrl must be.*\n$/],
]) {
  test(`${why} is one clear line`, async () => {
    const { text, code } = await said(env());
    assert.match(text, sentence);
    assert.equal(code, 78);
  });
}
