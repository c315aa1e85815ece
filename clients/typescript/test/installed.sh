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
# The README's example, with what it takes from the site around it.
{
  echo 'declare const process: { env: Record<string, string | undefined> };'
  echo 'declare function show(...ways: (string | null)[]): void;'
  echo 'declare function typed(): Promise<string>;'
  echo 'declare function signIn(subscriber: string): void;'
  awk '/^```ts$/ { inside = 1; next } /^```$/ && inside { exit } inside' "$client/README.md"
} >test/readme.ts
"$client/node_modules/.bin/tsc" --noEmit --strict --exactOptionalPropertyTypes --target es2022 --module nodenext --lib es2022,dom --types '' test/types.ts test/readme.ts
${NODE:-node} --test --test-reporter=spec test/*.test.mjs
