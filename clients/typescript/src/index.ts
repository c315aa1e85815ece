export { Tapcode, testCode, testSubscribers } from "./client.js";
export type { Events, Subscribers, TapcodeOptions, TestMode, WaitOptions, WaitUntilSentOptions, Webhooks } from "./client.js";
export {
  AccessError,
  ConflictError,
  DeliveryError,
  EventVerificationError,
  InvalidCallError,
  NoAnswerError,
  NotFoundError,
  ProblemError,
  RateLimitedError,
  ServiceError,
  TapcodeError,
  UnavailableError,
  UnexpectedAnswerError,
} from "./errors.js";
export type { ErrorCode, EventErrorCode, FieldError, ProblemCode } from "./errors.js";
export { verifyEvent } from "./events.js";
export type { EventHeaders, VerifyEventOptions } from "./events.js";
export type { CallOptions, Clock, PostOptions } from "./http.js";
export type * from "./types.js";
