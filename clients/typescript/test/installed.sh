#!/bin/sh
# Build the tarball, install it from its file in an empty folder, and test there what was installed.
set -eu
client=$(cd "$(dirname "$0")/.." && pwd)
TAPCODE_REPO=$(cd "$client/../.." && pwd)
export TAPCODE_REPO
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cd "$client"
npm ci --ignore-scripts --no-audit --no-fund --silent
rm -rf dist
npm pack --silent --pack-destination "$folder"

cd "$folder"
echo '{"private": true, "type": "module"}' >package.json
npm install --no-audit --no-fund --silent --offline ./tapcode-client-*.tgz
test "$(ls node_modules)" = tapcode-client # it brings nothing else along
cp -r "$client/test" .
# The README's examples: as JavaScript as they stand, and with types beside what they take from the site around them.
awk '/^```js$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$client/README.md" >readme.mjs
${NODE:-node} --check readme.mjs
{
  cat <<'END'
declare const process: { env: Record<string, string> };
declare function show(...ways: (string | null)[]): void;
declare function typed(): Promise<string>;
declare function signIn(subscriber: string): void;
interface Req { body: Uint8Array; headers: Record<string, string>; session: { requestId: string } }
interface Res { on(event: "close", heard: () => void): void; json(body: object): Res; status(code: number): Res; sendStatus(code: number): Res }
type Handler = (req: Req, res: Res) => Promise<unknown>;
declare const app: { get(path: string, handler: Handler): void; post(path: string, raw: object, handler: Handler): void };
declare const express: { raw(options: { type: string }): object };
END
  cat readme.mjs
} >test/readme.ts
"$client/node_modules/.bin/tsc" --noEmit --strict --exactOptionalPropertyTypes --target es2022 --module nodenext --lib es2022,dom --types '' test/types.ts test/readme.ts
${NODE:-node} -e 'if (process.features.require_module) require("tapcode-client").Tapcode.name' # else that Node has no require of ES modules
${NODE:-node} --test --test-reporter=spec test/*.test.mjs
