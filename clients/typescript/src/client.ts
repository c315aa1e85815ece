/** The calls of the API, each a method. */

import { perform, pauseFor, systemClock, type Call, type CallOptions, type Clock, type PostOptions, type Transport } from "./http.js";
import type {
  Cancelled,
  DeletedSubscriber,
  DeletedWebhook,
  EventList,
  EventQuery,
  NewWebhook,
  OtpRequest,
  Redelivered,
  RequestParams,
  RequestStatus,
  RevokeParams,
  Revoked,
  RotatedSecret,
  SendParams,
  Sent,
  Subscriber,
  Verdict,
  VerifyParams,
  Webhook,
  WebhookList,
  WebhookParams,
} from "./types.js";

export interface TapcodeOptions {
  /** Where the service is, e.g. `https://otp.example` or `http://localhost:8080`. */
  baseUrl: string;
  /** `tc_live_...`, or `tc_test_...` for your tests. It belongs on your server only. */
  apiKey: string;
  /** For each call with all its tries; 30 seconds when left out. */
  timeoutMs?: number;
  /** How often a call is made again at most; 3 when left out. */
  maxRetries?: number;
  fetch?: typeof globalThis.fetch;
  clock?: Clock;
  random?: () => number;
}

export interface WaitOptions extends CallOptions {
  /** 1-30; 25 when left out. */
  seconds?: number;
}

export interface WaitUntilSentOptions {
  /** When to come back, in milliseconds (two seconds later at the latest); the end of the request when left out. */
  timeoutMs?: number;
  /** Ends the wait, for example when the browser goes away. */
  signal?: AbortSignal;
}

/** Longer than a `send` takes at most, which waits for the messenger for about 15 seconds. */
const TRY_MS = 20_000;
const TIMEOUT_MS = 30_000;
const MAX_RETRIES = 3;
const WAIT_SECONDS = 25;
/** Beside the wait itself: what the service asks callers to allow for. */
const BEYOND_WAIT_MS = 10_000;
/** A request's 15 minutes, and the 15 seconds that a delivery may last beyond them. */
const REQUEST_MS = 915_000;
/** For the last answer to arrive. */
const GRACE_MS = 2_000;
/** Between two waits when the first one was cut short, as it is while the service is restarted. */
const CUT_SHORT_PAUSE_MS = 1_000;
const API_KEY = /^[\x21-\x7e]{1,512}$/;

type Get = (path: string, options?: CallOptions, more?: Partial<Call>) => Promise<unknown>;
type Post = (path: string, body: object | undefined, options?: PostOptions) => Promise<unknown>;
type Delete = (path: string, whenGone: object, options?: CallOptions) => Promise<unknown>;

/** A client of one tapcode service with one key. Holds no connection and no state: make one and share it. */
export class Tapcode {
  readonly subscribers: Subscribers;
  readonly webhooks: Webhooks;
  readonly events: Events;
  readonly test: TestMode;
  readonly #baseUrl: string;
  readonly #clock: Clock;
  readonly #get: Get;
  readonly #post: Post;

  constructor(options: TapcodeOptions) {
    const transport = transportOf(options);
    const call = (what: Omit<Call, "tryMs"> & { tryMs?: number }, given: PostOptions = {}): Promise<unknown> =>
      perform(transport, { tryMs: TRY_MS, ...what }, given);
    this.#baseUrl = transport.baseUrl;
    this.#clock = transport.clock;
    this.#get = (path, given, more) => call({ method: "GET", path, ...more }, given);
    this.#post = (path, body, given) => call({ method: "POST", path, body }, given);
    const remove: Delete = (path, whenGone, given) => call({ method: "DELETE", path, whenGone }, given);
    this.subscribers = new Subscribers(this.#get, remove);
    this.webhooks = new Webhooks(this.#get, this.#post, remove);
    this.events = new Events(this.#get, this.#post);
    this.test = new TestMode(this.#post);
  }

  /** Ask for a code for somebody who may not be subscribed: links to the bot, and a pairing code to show beside them. */
  request(params: RequestParams = {}, options?: PostOptions): Promise<OtpRequest> {
    return this.#post("/v1/otp/request", params, options) as Promise<OtpRequest>;
  }

  /** The status of a request as it is now. */
  status(requestId: string, options?: CallOptions): Promise<RequestStatus> {
    return this.#get(statusPath(requestId), options) as Promise<RequestStatus>;
  }

  /** The status of a request at its change, or as it is after so many seconds. */
  wait(requestId: string, { seconds = WAIT_SECONDS, ...options }: WaitOptions = {}): Promise<RequestStatus> {
    const tryMs = seconds * 1000 + BEYOND_WAIT_MS;
    const given = { timeoutMs: tryMs + BEYOND_WAIT_MS, ...options };
    return this.#get(statusPath(requestId), given, { query: { wait: seconds }, tryMs }) as Promise<RequestStatus>;
  }

  /**
   * Wait on, over restarts of the service too, until the request is `sent`, `cancelled` or `expired`, or the time is up: then it is `pending`.
   * Look at `status` before you go on.
   */
  async waitUntilSent(requestId: string, { timeoutMs = REQUEST_MS, signal }: WaitUntilSentOptions = {}): Promise<RequestStatus> {
    const until = this.#clock.now() + timeoutMs;
    for (;;) {
      const begun = this.#clock.now();
      const seconds = Math.min(WAIT_SECONDS, Math.floor((until - begun) / 1000));
      const options = { ...(signal && { signal }), maxRetries: Infinity, timeoutMs: Math.max(until - begun, 0) + GRACE_MS };
      const status = seconds < 1 ? await this.status(requestId, options) : await this.wait(requestId, { ...options, seconds });
      const now = this.#clock.now();
      if (status.status !== "pending" || until - now < 1000) return status;
      if (now - begun < CUT_SHORT_PAUSE_MS) await pauseFor(this.#clock, CUT_SHORT_PAUSE_MS, signal);
    }
  }

  /** Send a code to a subscriber (or an account) that you know. Answers when the messenger took it, within about 15 seconds. */
  send(params: SendParams, options?: PostOptions): Promise<Sent> {
    return this.#post("/v1/otp/send", params, options) as Promise<Sent>;
  }

  /** Judge what a person typed. Only `verified: true` lets anybody in; a thrown error means not verified. */
  verify(params: VerifyParams, options?: PostOptions): Promise<Verdict> {
    return this.#post("/v1/otp/verify", params, options) as Promise<Verdict>;
  }

  /** End a pending request: its link does nothing any more. */
  cancel(requestId: string, options?: PostOptions): Promise<Cancelled> {
    return this.#post(`/v1/otp/request/${segment(requestId)}/cancel`, undefined, options) as Promise<Cancelled>;
  }

  /** End the code of a subscriber and purpose that lives. */
  revoke(params: RevokeParams, options?: PostOptions): Promise<Revoked> {
    return this.#post("/v1/otp/revoke", params, options) as Promise<Revoked>;
  }

  /** What logs and consoles show: never the key. */
  toJSON(): { baseUrl: string } {
    return { baseUrl: this.#baseUrl };
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `Tapcode { baseUrl: ${JSON.stringify(this.#baseUrl)} }`;
  }
}

class Subscribers {
  readonly #get: Get;
  readonly #delete: Delete;

  constructor(get: Get, remove: Delete) {
    this.#get = get;
    this.#delete = remove;
  }

  get(subscriberId: string, options?: CallOptions): Promise<Subscriber> {
    return this.#get(`/v1/subscribers/${segment(subscriberId)}`, options) as Promise<Subscriber>;
  }

  /** Unsubscribe and forget; codes die, links and history go. */
  delete(subscriberId: string, options?: CallOptions): Promise<DeletedSubscriber> {
    const gone: DeletedSubscriber = { subscriber_id: subscriberId, deleted: true };
    return this.#delete(`/v1/subscribers/${segment(subscriberId)}`, gone, options) as Promise<DeletedSubscriber>;
  }
}

class Webhooks {
  readonly #get: Get;
  readonly #post: Post;
  readonly #delete: Delete;

  constructor(get: Get, post: Post, remove: Delete) {
    this.#get = get;
    this.#post = post;
    this.#delete = remove;
  }

  /** Have events sent to an address of yours. Keep the `secret`: it is told only here. */
  create(params: WebhookParams, options?: PostOptions): Promise<NewWebhook> {
    return this.#post("/v1/webhooks", params, options) as Promise<NewWebhook>;
  }

  list(options?: CallOptions): Promise<WebhookList> {
    return this.#get("/v1/webhooks", options) as Promise<WebhookList>;
  }

  delete(webhookId: string, options?: CallOptions): Promise<DeletedWebhook> {
    const gone: DeletedWebhook = { id: webhookId, deleted: true };
    return this.#delete(`/v1/webhooks/${segment(webhookId)}`, gone, options) as Promise<DeletedWebhook>;
  }

  /** A new secret; for 24 hours the old one signs beside it. */
  rotateSecret(webhookId: string, options?: PostOptions): Promise<RotatedSecret> {
    return this.#post(`/v1/webhooks/${segment(webhookId)}/rotate-secret`, undefined, options) as Promise<RotatedSecret>;
  }

  /** Switch a webhook on again that was switched off. */
  enable(webhookId: string, options?: PostOptions): Promise<Webhook> {
    return this.#post(`/v1/webhooks/${segment(webhookId)}/enable`, undefined, options) as Promise<Webhook>;
  }
}

class Events {
  readonly #get: Get;
  readonly #post: Post;

  constructor(get: Get, post: Post) {
    this.#get = get;
    this.#post = post;
  }

  list(query: EventQuery = {}, options?: CallOptions): Promise<EventList> {
    return this.#get("/v1/events", options, { query: { ...query } }) as Promise<EventList>;
  }

  /** Tell an event once more, to one webhook or to all that were to hear of it. */
  redeliver(eventId: string, params: { webhook_id?: string } = {}, options?: PostOptions): Promise<Redelivered> {
    return this.#post(`/v1/events/${segment(eventId)}/redeliver`, params, options) as Promise<Redelivered>;
  }
}

/** With a `tc_test_` key alone: play the person of a request. Each answers the status that follows. */
class TestMode {
  readonly #post: Post;

  constructor(post: Post) {
    this.#post = post;
  }

  /** "Get the code": the request is `sent`, and the code is `testCode()`. */
  consent(requestId: string, options?: PostOptions): Promise<RequestStatus> {
    return this.#play(requestId, "consent", options);
  }

  /** "Cancel". */
  cancel(requestId: string, options?: PostOptions): Promise<RequestStatus> {
    return this.#play(requestId, "cancel", options);
  }

  /** "It wasn't me", under the code. */
  report(requestId: string, options?: PostOptions): Promise<RequestStatus> {
    return this.#play(requestId, "report", options);
  }

  /** "Share my number", where the request asks: the next `status` tells it, once. */
  phone(requestId: string, options?: PostOptions): Promise<RequestStatus> {
    return this.#play(requestId, "phone", options);
  }

  /** "Skip", in its place. */
  skip(requestId: string, options?: PostOptions): Promise<RequestStatus> {
    return this.#play(requestId, "skip", options);
  }

  /** The end of its 15 minutes. */
  expire(requestId: string, options?: PostOptions): Promise<RequestStatus> {
    return this.#play(requestId, "expire", options);
  }

  #play(requestId: string, act: string, options?: PostOptions): Promise<RequestStatus> {
    return this.#post(`/v1/test/request/${segment(requestId)}/${act}`, undefined, options) as Promise<RequestStatus>;
  }
}

export type { Events, Subscribers, TestMode, Webhooks };

/** The code that is delivered in test mode. */
export function testCode(length: 4 | 6 | 8 = 6): string {
  return "42424242".slice(0, length);
}

/** Subscribers of test mode for `send`, the same in every project. */
export const testSubscribers = {
  delivered: "00000000-0000-4000-8000-000000000001",
  blocked: "00000000-0000-4000-8000-000000000002",
  rateLimited: "00000000-0000-4000-8000-000000000003",
  messengerDown: "00000000-0000-4000-8000-000000000004",
  deliveryUnknown: "00000000-0000-4000-8000-000000000005",
  locked: "00000000-0000-4000-8000-000000000006",
} as const;

function transportOf(options: TapcodeOptions): Transport {
  const { baseUrl, apiKey, timeoutMs = TIMEOUT_MS, maxRetries = MAX_RETRIES } = options;
  if (typeof apiKey !== "string" || !API_KEY.test(apiKey)) {
    throw new TypeError("apiKey must be a key as the service made it, without spaces or line ends around it");
  }
  return {
    baseUrl: baseUrlOf(baseUrl),
    apiKey,
    timeoutMs,
    maxRetries,
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
  };
}

function baseUrlOf(given: string): string {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw new TypeError("baseUrl must be an address such as https://otp.example");
  }
  if (!/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
    throw new TypeError("baseUrl must be an http or https address without user, query and fragment");
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

function statusPath(requestId: string): string {
  return `/v1/otp/request/${segment(requestId)}/status`;
}

/** An id as one segment of a path, whatever it holds: "." and ".." would lead elsewhere. */
function segment(id: string): string {
  if (typeof id !== "string" || !/[^.]/.test(id)) throw new TypeError("an id must be a string that names something");
  return encodeURIComponent(id);
}
