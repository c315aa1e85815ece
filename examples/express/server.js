// Reads the settings, puts the parts together, listens.

import { randomBytes } from "node:crypto";
import { Tapcode } from "tapcode-client";
import { Accounts } from "./accounts.js";
import { siteOf } from "./site.js";
import { lineOf, troubleAtStart } from "./trouble.js";

// SHOP_PORT and not PORT: that one is tapcode's own, and whoever exports it would have both want the same.
const { TAPCODE_URL = "http://localhost:8080", TAPCODE_API_KEY, SESSION_SECRET, NODE_ENV } = process.env;
const { SHOP_HOST = "127.0.0.1", SHOP_PORT = "3000" } = process.env;
const live = NODE_ENV === "production";

if (!TAPCODE_API_KEY) fail("TAPCODE_API_KEY is missing: the sandbox prints one when it starts (tc_test_...).");
if (live && !SESSION_SECRET) fail("SESSION_SECRET is missing: 32 random characters or more, the same in every process.");
if (SESSION_SECRET && SESSION_SECRET.length < 32) fail("SESSION_SECRET is too short: 32 random characters or more.");
if (!/^\d{1,5}$/.test(SHOP_PORT) || Number(SHOP_PORT) > 65_535) fail("SHOP_PORT must be a port: 0-65535.");

const tapcode = tapcodeOf();
const site = siteOf({
  tapcode,
  tapcodeUrl: TAPCODE_URL,
  accounts: new Accounts(),
  // Without one, whoever is signed in is not any more after a restart.
  sessionSecret: SESSION_SECRET || randomBytes(32).toString("base64url"),
  live,
  sandbox: !live && isSandbox() ? TAPCODE_URL : undefined,
});
const server = site.listen(Number(SHOP_PORT), SHOP_HOST, async (error) => {
  if (error?.code === "EADDRINUSE") fail(`Port ${SHOP_PORT} is in use: end what listens there, or choose another one (SHOP_PORT=3001).`);
  if (error) fail(error.message);
  console.log(`\n  The shop is open: http://${SHOP_HOST === "127.0.0.1" ? "localhost" : SHOP_HOST}:${server.address().port}\n`);
  const trouble = await troubleAtStart(tapcode);
  if (trouble) console.error(`  BUT NOBODY CAN SIGN IN.\n  ${lineOf(trouble, TAPCODE_URL)}\n`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => (server.close(), server.closeAllConnections()));

function tapcodeOf() {
  try {
    return new Tapcode({ baseUrl: TAPCODE_URL, apiKey: TAPCODE_API_KEY });
  } catch (error) {
    fail(`TAPCODE_URL, TAPCODE_API_KEY: ${error.message}.`);
  }
}

/** The sandbox knows test keys only, and answers on its own machine only: then the page says where the person is played. */
function isSandbox() {
  return TAPCODE_API_KEY.startsWith("tc_test_") && ["localhost", "127.0.0.1", "[::1]"].includes(new URL(TAPCODE_URL).hostname);
}

function fail(sentence) {
  console.error(sentence);
  process.exit(78);
}
