/** Events as the service sends them: signed as Standard Webhooks says, https://www.standardwebhooks.com. */

import { EventVerificationError } from "./errors.js";
import type { EventType, KnownEvent, TapcodeEvent } from "./types.js";

export interface VerifyEventOptions {
  /** `whsec_...`; several while you change from one to the next. */
  secret: string | readonly string[];
  /** How old an event, or how far ahead, its time may be; 300 when left out. */
  toleranceSeconds?: number;
  /** Milliseconds since 1970. */
  now?: () => number;
}

/** As Node's `request.headers`, or as a `Request` has them. */
export type EventHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

const KNOWN: Record<EventType, true> = {
  "otp.sent": true,
  "otp.verified": true,
  "otp.failed": true,
  "otp.wrong_code": true,
  "otp.exhausted": true,
  "otp.cancelled": true,
  "otp.expired": true,
  "otp.reported": true,
  "subscriber.joined": true,
  "subscriber.left": true,
  "subscriber.locked": true,
  "subscriber.unlocked": true,
  "subscriber.relinked": true,
};

/**
 * The event of a POST to your webhook. `body` is the body as it came, byte by byte: parsed and written again it has another signature.
 * Throws `EventVerificationError` when it is not from the service, was changed, or is too old.
 */
export async function verifyEvent(body: string | Uint8Array, headers: EventHeaders, options: VerifyEventOptions): Promise<TapcodeEvent> {
  const { secret, toleranceSeconds = 300, now = Date.now } = options;
  const keys = await Promise.all((typeof secret === "string" ? [secret] : secret).map(keyOf));
  const [id, timestamp, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => header(headers, name));
  if (!id || !timestamp || !signatures) {
    throw new EventVerificationError("missing_header", "webhook-id, webhook-timestamp and webhook-signature must be there");
  }
  const seconds = /^\d{1,12}$/.test(timestamp) ? Number(timestamp) : NaN;
  if (!(Math.abs(now() / 1000 - seconds) <= toleranceSeconds)) {
    throw new EventVerificationError("bad_timestamp", "webhook-timestamp is too far from now: is this machine's clock right?");
  }
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  if (!(await isSigned(signatures, joined(new TextEncoder().encode(`${id}.${timestamp}.`), bytes), keys))) {
    throw new EventVerificationError("no_matching_signature", "no signature matches: is this the secret, and the body as it came?");
  }
  return eventOf(id, bytes);
}

async function keyOf(secret: string): Promise<CryptoKey> {
  const raw = fromBase64(secret.replace(/^whsec_/, ""));
  if (raw === undefined || raw.length === 0) throw new TypeError("secret must be whsec_ and base64, as the service told it");
  return globalThis.crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
}

/** One that matches is enough: under a rotation two secrets sign. `subtle.verify` compares in constant time. */
async function isSigned(header: string, content: Uint8Array<ArrayBuffer>, keys: readonly CryptoKey[]): Promise<boolean> {
  for (const [version, encoded] of header.split(" ").map((one) => one.split(",", 2))) {
    const signature = version === "v1" ? fromBase64(encoded ?? "") : undefined;
    if (signature === undefined) continue;
    for (const key of keys) {
      if (await globalThis.crypto.subtle.verify("HMAC", key, signature, content)) return true;
    }
  }
  return false;
}

function eventOf(id: string, bytes: Uint8Array): TapcodeEvent {
  let told: { type?: unknown; timestamp?: unknown; data?: unknown } | null;
  try {
    told = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    told = null;
  }
  if (typeof told?.type !== "string" || typeof told.timestamp !== "string" || typeof told.data !== "object" || told.data === null) {
    throw new EventVerificationError("not_an_event", "the body is signed, but no event");
  }
  const { type, timestamp } = told;
  const data = told.data as Record<string, unknown>;
  if (!Object.hasOwn(KNOWN, type)) return { id, type: "unknown", unknown_type: type, timestamp, data };
  return { id, type, timestamp, data } as unknown as KnownEvent;
}

function header(headers: EventHeaders, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  const found = Object.entries(headers).find(([given]) => given.toLowerCase() === name)?.[1];
  return typeof found === "string" ? found : found?.join(" ");
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
