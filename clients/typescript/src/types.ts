/**
 * What goes to the service and what comes back, under the names of the API itself: `docs/api.md` and `/openapi.json` describe the same fields.
 * Times are RFC 3339 in UTC. Later versions of the service may add fields.
 */

export type Channel = "telegram" | "max";

/** `degraded`: whoever goes there now will probably get no code soon. Take what you do not know, of a later service, for that. */
export type ChannelHealth = "ok" | "degraded" | "off";

/** In every answer to a `tc_test_` key. */
interface Played {
  test?: true;
}

// ---- what is asked

/** The hosted page of a request: `return_url` is an address that the project registered, or below one; `state` goes back with the person. */
export interface Page {
  return_url: string;
  state?: string;
}

/** Who is asking: shown to the person in the chat, as it is. */
export interface Context {
  /** An IPv4 or IPv6 address. */
  ip?: string;
  location?: string;
  device?: string;
  action?: string;
  amount?: string;
}

export interface RequestParams {
  /** Only this messenger; both when left out; `auto`: the links of those that work. */
  channel?: Channel | "auto";
  /** 1-30 minutes that the code lives, 5 when left out; the operator may cap it lower. */
  ttl_minutes?: number;
  /** 1-10 guesses, 3 when left out. */
  max_attempts?: number;
  /** 6 when left out. */
  code_length?: 4 | 6 | 8;
  /** Codes of different purposes live side by side; `login` when left out. */
  purpose?: string;
  context?: Context;
  /** Whoever is verified with it is linked to this account of yours. Only for an account that the visitor proved to be theirs. */
  external_id?: string;
  /** The person must press the `match_number` that you show before any code is sent. */
  match?: boolean;
  /** Answer the address of a hosted page, too. */
  page?: Page;
  /** After the code, ask the person for their own phone number, in Telegram; they may pass it over. */
  phone?: "ask";
}

/** Exactly one of the two: the subscriber, or your own name of an account that somebody is linked to. */
export type Whom = { subscriber_id: string; external_id?: never } | { external_id: string; subscriber_id?: never };

export interface SendOptions {
  ttl_minutes?: number;
  /** 1-10 guesses, 5 when left out. */
  max_attempts?: number;
  code_length?: 4 | 6 | 8;
  purpose?: string;
  context?: Context;
  /** Send the code that lives already, if one does: its ttl, attempts and length win. */
  reuse?: boolean;
}

export type SendParams = Whom & SendOptions;

export interface VerifyOptions {
  /** As the person typed it, 1-64 characters. */
  code: string;
  /** Accept only this request's code. Always pass it when there was a request. */
  request_id?: string;
  purpose?: string;
}

export type VerifyParams = Whom & VerifyOptions;

export interface RevokeParams {
  subscriber_id: string;
  purpose?: string;
}

export interface WebhookParams {
  /** https, a domain name, no user and no fragment. */
  url: string;
  /** Only these types; all, also those to come, when left out. */
  events?: EventType[];
  /** For yourself, 1-200 characters. */
  description?: string;
}

export interface EventQuery {
  webhook_id?: string;
  /** Only those that were given up. */
  status?: "failed";
  /** The `next` of the page before. */
  before?: string;
  /** 1-100, 50 when left out. */
  limit?: number;
}

// ---- what is answered

export interface OtpRequest extends Played {
  request_id: string;
  /** Show it beside the links: typed into the chat it is as good as the link. */
  pairing_code: string;
  /** With `match`: show it; the person must press it in the chat. */
  match_number?: string;
  /** With `page`: send the person there. */
  page_url?: string;
  /** With `page`: for a browser; opens this request's page and nothing else. */
  client_token?: string;
  /** null when the channel is off, another one was asked for, or `auto` leaves it out. */
  telegram_link: string | null;
  max_link: string | null;
  /** Seconds that the links live. */
  expires_in: number;
  /** How each messenger is: lead with one that is `ok`. */
  channels: Record<Channel, ChannelHealth>;
}

interface StatusTimes extends Played {
  created_at: string;
  /** Of the links. */
  expires_at: string;
}

/** Nobody agreed yet, or the code is on its way. */
export interface PendingStatus extends StatusTimes {
  status: "pending";
}

/** A code was delivered to whoever had the link. That authenticates nobody: only `verify` does. */
export interface SentStatus extends StatusTimes {
  status: "sent";
  /** Keep it with an account only after `verified: true`. */
  subscriber_id: string;
  channel: Channel;
  sent_at: string;
  /** A code of it was accepted. For your records; let nobody in by it. */
  verified?: true;
  verified_at?: string;
  /** With `page`, once verified: let in only the browser that comes back with the same `proof`. */
  proof?: string;
  /** With `phone: "ask"`, once shared: E.164. Told in one answer only, so keep it. */
  phone?: string;
  /** The person is asked for their number and has not answered: read again in two seconds. */
  phone_pending?: true;
  /** The person pressed "It wasn't me": the code is dead, distrust whoever began. */
  reported?: true;
}

export interface CancelledStatus extends StatusTimes {
  status: "cancelled";
  reported?: true;
}

export interface ExpiredStatus extends StatusTimes {
  status: "expired";
}

export type RequestStatus = PendingStatus | SentStatus | CancelledStatus | ExpiredStatus;

export interface Sent extends Played {
  sent: true;
  /** Seconds that the code lives. */
  expires_in_seconds: number;
  /** With `reuse`: whether it is the code that lived already. */
  reused?: boolean;
  /** With `external_id`. */
  channel?: Channel;
  subscriber_id?: string;
}

export interface Verified extends Played {
  verified: true;
}

export interface NotVerified extends Played {
  verified: false;
  reason: "locked" | "no_active_code" | "malformed_code" | "wrong_code";
  attempts_left: number;
}

export type Verdict = Verified | NotVerified;

export interface Cancelled extends Played {
  status: "cancelled";
}

export interface Revoked extends Played {
  /** Whether there was a code to end. */
  revoked: boolean;
}

export interface Subscriber {
  channel: Channel;
  language: string;
  /** The last consent. */
  subscribed_at: string;
  locked: boolean;
  /** Your account for which they were verified last. */
  external_id: string | null;
  /** What they shared last, where the operator lets the project keep it. */
  phone?: string;
}

export interface DeletedSubscriber {
  subscriber_id: string;
  deleted: true;
}

export interface Webhook {
  id: string;
  url: string;
  events?: EventType[];
  description?: string;
  status: "enabled" | "disabled";
  disabled_reason?: "gone" | "failing";
  disabled_at?: string;
  /** There while nothing arrives: the first failure. */
  failing_since?: string;
  created_at: string;
}

export interface NewWebhook extends Webhook {
  /** `whsec_...`, told only now. Absent when the first answer was lost and this is its replay: then rotate the secret. */
  secret?: string;
}

export interface WebhookList {
  webhooks: Webhook[];
}

export interface DeletedWebhook {
  id: string;
  deleted: true;
}

export interface RotatedSecret {
  id: string;
  /** Absent when the first answer was lost and this is its replay: then rotate again. */
  secret?: string;
  /** Until then the old secret signs too. */
  old_secret_until: string;
}

/** An event, and what became of it at one webhook. */
export interface ListedEvent {
  id: string;
  webhook_id: string;
  type: EventType;
  timestamp: string;
  data: Record<string, unknown>;
  status: "pending" | "delivered" | "failed";
  attempts: number;
  last_result?: string;
  next_attempt_at?: string;
  settled_at?: string;
}

export interface EventList {
  /** Newest first. */
  events: ListedEvent[];
  /** There while there may be more: pass it as `before`. */
  next?: string;
}

export interface Redelivered {
  id: string;
  webhooks: number;
}

// ---- events

interface OfCode {
  channel: Channel;
  purpose: string;
  subscriber_id: string;
  /** Absent for codes of `send`. */
  request_id?: string;
  test?: true;
}

interface OfRequest {
  request_id: string;
  channel?: Channel;
  purpose: string;
  test?: true;
}

interface OfSubscriber {
  subscriber_id: string;
  channel: Channel;
  test?: true;
}

export interface EventDataByType {
  "otp.sent": OfCode;
  "otp.verified": OfCode;
  "otp.failed": OfCode & { reason: "gone" | "rejected" | "unavailable" | "withdrawn" | "unknown" };
  "otp.wrong_code": OfCode & { attempts_left: number };
  "otp.exhausted": OfCode;
  "otp.cancelled": OfRequest;
  "otp.expired": OfRequest;
  "otp.reported": OfCode;
  "subscriber.joined": OfSubscriber;
  "subscriber.left": OfSubscriber;
  "subscriber.locked": OfSubscriber;
  "subscriber.unlocked": OfSubscriber;
  "subscriber.relinked": OfSubscriber;
}

export type EventType = keyof EventDataByType;

interface EventOf<Type, Data> {
  /** The `webhook-id`: the same at every attempt. Remember it for a few days, and drop what you know. */
  id: string;
  type: Type;
  timestamp: string;
  data: Data;
}

/** A type that this version of the client does not know: ignore it. */
export interface UnknownEvent extends EventOf<"unknown", Record<string, unknown>> {
  unknown_type: string;
}

export type KnownEvent = { [Type in EventType]: EventOf<Type, EventDataByType[Type]> }[EventType];

/** `switch (event.type)` narrows `event.data`. */
export type TapcodeEvent = KnownEvent | UnknownEvent;
