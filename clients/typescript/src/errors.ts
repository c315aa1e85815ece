/** What can go wrong, as classes with a machine code. None holds a key, a code or the text of a foreign exception: each may be logged. */

export type ProblemCode =
  | "malformed_json"
  | "validation_failed"
  | "unauthorized"
  | "project_disabled"
  | "not_found"
  | "subscriber_not_found"
  | "request_not_found"
  | "webhook_not_found"
  | "event_not_found"
  | "method_not_allowed"
  | "channel_unavailable"
  | "phone_unavailable"
  | "page_unavailable"
  | "return_url_refused"
  | "no_active_code"
  | "request_not_pending"
  | "send_in_progress"
  | "subscriber_locked"
  | "too_many_purposes"
  | "idempotency_in_progress"
  | "too_many_webhooks"
  | "webhook_disabled"
  | "code_not_delivered"
  | "body_too_large"
  | "unsupported_media_type"
  | "idempotency_mismatch"
  | "rate_limited"
  | "internal_error"
  | "delivery_failed"
  | "delivery_unknown"
  | "messenger_unavailable"
  | "storage_unavailable";

/** A code that a later version of the service may bring is a string too; editors still offer those that are known. */
export type ErrorCode = ProblemCode | "no_answer" | "unexpected_answer" | (string & {});

export interface FieldError {
  field: string;
  message: string;
}

export interface ErrorFacts {
  code: ErrorCode;
  detail: string;
  httpStatus?: number | undefined;
  requestId?: string | undefined;
  retryAfter?: number | undefined;
  retryable?: boolean | undefined;
  errors?: FieldError[] | undefined;
}

/** All errors of this client, but for your own AbortSignal: what that was aborted with is thrown as it is. */
export abstract class TapcodeError extends Error {
  /** Decide by this one. */
  readonly code: ErrorCode;
  /** A sentence for people, which may change. */
  readonly detail: string;
  /** The status that the service answered; undefined when there was no answer. Not `status`: Express, Koa and others would answer your visitor with it. */
  readonly httpStatus: number | undefined;
  /** The `X-Request-Id` of the answer, which stands in the service's log. It has nothing to do with the `request_id` of a code. */
  readonly requestId: string | undefined;
  /** Seconds after which the same call may be made again. */
  readonly retryAfter: number | undefined;
  /** Whether the same call may simply be made again. This client did so already as often as it was allowed to. */
  readonly retryable: boolean;

  constructor(facts: ErrorFacts) {
    super(messageOf(facts));
    this.name = new.target.name;
    this.code = facts.code;
    this.detail = facts.detail;
    this.httpStatus = facts.httpStatus;
    this.requestId = facts.requestId;
    this.retryAfter = facts.retryAfter;
    this.retryable = facts.retryable ?? false;
  }

  toJSON(): Record<string, unknown> {
    const { name, code, detail, httpStatus, requestId, retryAfter, retryable } = this;
    return { name, code, detail, httpStatus, requestId, retryAfter, retryable };
  }
}

/** With the names of the fields that are not valid, `...: ... (code, context.ip)`: what was in them is told nowhere. */
function messageOf({ code, detail, errors = [] }: ErrorFacts): string {
  const names = errors.map(({ field }) => field).filter((name) => /^[a-z_][\w.]{0,63}$/i.test(name));
  return `${code}: ${detail}${names.length === 0 ? "" : ` (${[...new Set(names)].join(", ")})`}`;
}

/** No answer in time, or none at all: what was asked may or may not be done. The same `idempotencyKey` asks again without harm. */
export class NoAnswerError extends TapcodeError {}

/** An answer that is not one of the service's: a wrong address, or something in between. */
export class UnexpectedAnswerError extends TapcodeError {}

/** The service refused; the subclasses group its codes. */
export class ProblemError extends TapcodeError {}

/** 400, 405, 413, 415, 422: the call itself is wrong. */
export class InvalidCallError extends ProblemError {
  /** With `validation_failed`. */
  readonly errors: readonly FieldError[];

  constructor(facts: ErrorFacts) {
    super(facts);
    this.errors = facts.errors ?? [];
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), errors: this.errors };
  }
}

/** 401, 403: the key is not valid, or the operator switched the project off. */
export class AccessError extends ProblemError {}

/** 404: unknown, another project's, or gone. */
export class NotFoundError extends ProblemError {}

/** 409: not in the present state. */
export class ConflictError extends ProblemError {}

/** 429: too many messages to this subscriber, or too many calls. */
export class RateLimitedError extends ProblemError {}

/** 502: `delivery_failed`, or `delivery_unknown`: then the code may have arrived, and works. Never repeated by this client. */
export class DeliveryError extends ProblemError {}

/** 503: certainly nothing was done. */
export class UnavailableError extends ProblemError {}

/** 500: a bug of the service. Tell the operator the `requestId`. */
export class ServiceError extends ProblemError {}

type ProblemClass = new (facts: ErrorFacts) => ProblemError;

const BY_STATUS: Record<number, ProblemClass> = {
  400: InvalidCallError,
  401: AccessError,
  403: AccessError,
  404: NotFoundError,
  405: InvalidCallError,
  409: ConflictError,
  413: InvalidCallError,
  415: InvalidCallError,
  422: InvalidCallError,
  429: RateLimitedError,
  500: ServiceError,
  502: DeliveryError,
  503: UnavailableError,
};

/** The error for an answer with problem details. */
export function problemOf(facts: ErrorFacts & { httpStatus: number }): ProblemError {
  return new (BY_STATUS[facts.httpStatus] ?? ProblemError)(facts);
}

export type EventErrorCode = "missing_header" | "bad_timestamp" | "no_matching_signature" | "not_an_event";

/** An event that must not be believed. Answer 400 and do nothing. */
export class EventVerificationError extends Error {
  readonly code: EventErrorCode;
  readonly detail: string;

  constructor(code: EventErrorCode, detail: string) {
    super(`${code}: ${detail}`);
    this.name = new.target.name;
    this.code = code;
    this.detail = detail;
  }

  toJSON(): Record<string, unknown> {
    const { name, code, detail } = this;
    return { name, code, detail };
  }
}
