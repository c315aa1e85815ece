// Reads the settings, puts the parts together, listens.

import { randomBytes } from "node:crypto";
import { Tapcode } from "tapcode-client";
import { Accounts } from "./accounts.js";
import { siteOf } from "./site.js";

const { TAPCODE_URL = "http://localhost:8080", TAPCODE_API_KEY, SESSION_SECRET, HOST = "127.0.0.1", PORT = "3000", NODE_ENV } = process.env;
const live = NODE_ENV === "production";

if (!TAPCODE_API_KEY) fail("TAPCODE_API_KEY is missing: the sandbox prints one when it starts (tc_test_...).");
if (live && !SESSION_SECRET) fail("SESSION_SECRET is missing: 32 random characters or more, the same in every process.");

const site = siteOf({
  tapcode: new Tapcode({ baseUrl: TAPCODE_URL, apiKey: TAPCODE_API_KEY }),
  accounts: new Accounts(),
  // Without one, whoever is signed in is not any more after a restart.
  sessionSecret: SESSION_SECRET ?? randomBytes(32).toString("base64url"),
  live,
  // With a test key no messenger is reached: the page says where the person is played.
  sandbox: TAPCODE_API_KEY.startsWith("tc_test_") ? TAPCODE_URL : undefined,
});
const server = site.listen(Number(PORT), HOST, (error) => {
  if (error) fail(error.message);
  console.log(`\n  The shop is open: http://${HOST === "127.0.0.1" ? "localhost" : HOST}:${PORT}\n`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => (server.close(), server.closeAllConnections()));

function fail(sentence) {
  console.error(sentence);
  process.exit(78);
}
