/**
 * How a call is made: one deadline over all tries, one idempotency key, and another try only where it can do no harm.
 * For `client.ts`; nothing here knows what the calls mean.
 */

import { NoAnswerError, problemOf, TapcodeError, UnexpectedAnswerError, type ErrorFacts } from "./errors.js";

/** Time as the client sees it; another one can be handed in by tests. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves after so many milliseconds; once the signal is aborted it may stay pending. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    }),
};

export interface CallOptions {
  /** For the whole call with all its tries, in milliseconds. */
  timeoutMs?: number;
  /** Ends the call; what it was aborted with is thrown. */
  signal?: AbortSignal;
  /** How often the call is made again at most. */
  maxRetries?: number;
}

export interface PostOptions extends CallOptions {
  /** 1-255 visible ASCII characters; a new random one for each call when left out. The same key and call within 24 hours is one call. */
  idempotencyKey?: string;
}

export interface Transport {
  baseUrl: string;
  apiKey: string;
  fetch: typeof globalThis.fetch;
  clock: Clock;
  /** 0 <= n < 1, for jitter. */
  random: () => number;
  timeoutMs: number;
  maxRetries: number;
}

export interface Call {
  method: "GET" | "POST" | "DELETE";
  path: string;
  query?: Record<string, string | number | undefined>;
  body?: object | undefined;
  /** How long one try may take. */
  tryMs: number;
  /** The answer when it is gone at a later try, although the first answer was lost: it was this call that deleted it. */
  whenGone?: unknown;
}

const USER_AGENT = "tapcode-client-typescript/0.1.0";
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** Beside 429 and 503. Not `send_in_progress`: once it is over a code has arrived, and the same call would send another one. */
const AGAIN_BY_CODE = new Set(["idempotency_in_progress"]);
const AGAIN_BY_STATUS = new Set([429, 503]);
/** A proxy's own: whether the service was reached nobody knows, as with no answer. */
const PROXY_STATUS = new Set([502, 503, 504]);
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/** Make a call; the answer's JSON. Throws a `TapcodeError`, or what the caller's signal was aborted with. */
export async function perform(transport: Transport, call: Call, options: PostOptions): Promise<unknown> {
  const { clock, random } = transport;
  const headers = headersOf(transport, call, options);
  const until = clock.now() + (options.timeoutMs ?? transport.timeoutMs);
  const maxRetries = options.maxRetries ?? transport.maxRetries;
  let lost = false;
  for (let tries = 0; ; tries++) {
    try {
      return await within(clock, Math.min(call.tryMs, until - clock.now()), options.signal, (signal) =>
        once(transport, call, headers, signal),
      );
    } catch (error) {
      if (!(error instanceof TapcodeError)) throw error;
      if (error.code === "no_answer") lost = true;
      else if (lost && error.httpStatus === 404 && call.whenGone !== undefined) return call.whenGone;
      const pause = pauseMs(error, tries, random);
      if (!isWorthAnotherTry(error) || tries >= maxRetries || clock.now() + pause >= until) throw error;
      await pauseFor(clock, pause, options.signal);
    }
  }
}

function headersOf(transport: Transport, call: Call, options: PostOptions): Record<string, string> {
  const headers: Record<string, string> = {
    Authorization: `Bearer ${transport.apiKey}`,
    Accept: "application/json",
    "User-Agent": USER_AGENT,
  };
  if (call.method !== "POST") return headers;
  const key = options.idempotencyKey ?? globalThis.crypto.randomUUID();
  if (!IDEMPOTENCY_KEY.test(key)) throw new TypeError("idempotencyKey must be 1-255 visible ASCII characters");
  headers["Idempotency-Key"] = key;
  headers["Content-Type"] = "application/json";
  return headers;
}

async function once(transport: Transport, call: Call, headers: Record<string, string>, signal: AbortSignal): Promise<unknown> {
  const init: RequestInit = { method: call.method, headers, signal, redirect: "manual" };
  if (call.method === "POST") init.body = JSON.stringify(call.body ?? {});
  let answer: Response;
  let text: string;
  try {
    answer = await transport.fetch(transport.baseUrl + call.path + queryOf(call.query), init);
    text = await answer.text();
  } catch (error) {
    throw noAnswer(`${transport.baseUrl} gave no answer (${kindOf(error)})`);
  }
  return read(answer, text, transport.clock);
}

function queryOf(query: Call["query"]): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  return given.length === 0 ? "" : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

/** What went wrong on the line in one word. The error itself is left behind: its text may hold headers, and so the key. */
function kindOf(error: unknown): string {
  const words = [(error as { cause?: { code?: unknown } } | null)?.cause?.code, (error as { name?: unknown } | null)?.name];
  return words.find((word): word is string => typeof word === "string" && /^\w{1,60}$/.test(word)) ?? "error";
}

function noAnswer(detail: string, more: Partial<ErrorFacts> = {}): NoAnswerError {
  return new NoAnswerError({ code: "no_answer", detail, retryable: true, ...more });
}

function read(answer: Response, text: string, clock: Clock): unknown {
  const body = parsed(text);
  if (answer.ok && body !== undefined) return body;
  const facts = {
    httpStatus: answer.status,
    requestId: answer.headers.get("X-Request-Id") ?? undefined,
    retryAfter: retryAfterOf(answer.headers.get("Retry-After"), clock),
  };
  if (!answer.ok && typeof body?.["code"] === "string") {
    const { code, detail, retryable, errors } = body as { code: string } & Partial<ErrorFacts>;
    throw problemOf({ ...facts, code, detail: String(detail ?? ""), retryable: retryable === true, errors: Array.isArray(errors) ? errors : undefined });
  }
  if (PROXY_STATUS.has(answer.status)) throw noAnswer(`HTTP ${answer.status}, and not from the service`, facts);
  const detail = `HTTP ${answer.status}, and not as the service answers: is the address right?`;
  throw new UnexpectedAnswerError({ ...facts, code: "unexpected_answer", detail });
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Seconds, from seconds or (a proxy's) HTTP date. */
function retryAfterOf(header: string | null, clock: Clock): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header);
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - clock.now()) / 1000));
}

function isWorthAnotherTry(error: TapcodeError): boolean {
  return error.code === "no_answer" || AGAIN_BY_CODE.has(error.code) || AGAIN_BY_STATUS.has(error.httpStatus ?? 0);
}

/** Never before `Retry-After`; without one any time up to a limit that doubles (full jitter). */
function pauseMs(error: TapcodeError, tries: number, random: () => number): number {
  const spread = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries);
  return (error.retryAfter ?? 0) * 1000 + random() * spread;
}

export function pauseFor(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return orAborted(signal, (inner) => clock.sleep(ms, inner));
}

/** The work, ended after so many milliseconds at the latest, even when it does not listen to its signal. */
function within<T>(clock: Clock, ms: number, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return orAborted(signal, (inner) => {
    const late = clock.sleep(Math.max(0, ms), inner).then(() => {
      throw noAnswer(`no answer within ${Math.round(ms)} ms`);
    });
    return Promise.race([work(inner), late]);
  });
}

/** The work with a signal that is aborted when the work is over, or the caller's signal is: then that one's reason is thrown. */
async function orAborted<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  signal?.throwIfAborted();
  const inner = new AbortController();
  let abort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([work(inner.signal), aborted]);
  } finally {
    signal?.removeEventListener("abort", abort);
    inner.abort();
  }
}
