// Compiled against the installed package, never run: what the types allow, and what they refuse.

import { RateLimitedError, Tapcode, TapcodeError, verifyEvent, type Sent, type Verdict } from "tapcode-client";

const tapcode = new Tapcode({ baseUrl: "http://localhost:8080", apiKey: "tc_test_..." });

export async function login(code: string): Promise<string | undefined> {
  const request = await tapcode.request({ channel: "max", code_length: 6 });
  const leads: boolean = request.channels.max === "ok";
  const { max_link: link } = leads ? request : await tapcode.request({ channel: "auto" });
  // @ts-expect-error: no messenger that there is
  void tapcode.request({ channel: "icq" });
  const status = await tapcode.waitUntilSent(request.request_id, { timeoutMs: 25_000 });
  // @ts-expect-error: nobody is known before it is sent
  void status.subscriber_id;
  if (status.status !== "sent") return link ?? undefined;
  const verdict: Verdict = await tapcode.verify({ subscriber_id: status.subscriber_id, code, request_id: request.request_id });
  // @ts-expect-error: a code that was accepted has no attempts left
  void verdict.attempts_left;
  return verdict.verified ? status.subscriber_id : verdict.reason;
}

export async function send(): Promise<Sent | number | undefined> {
  // @ts-expect-error: one of the two, not both
  void tapcode.send({ subscriber_id: "x", external_id: "y" });
  // @ts-expect-error: one of the two
  void tapcode.send({ purpose: "login" });
  // @ts-expect-error: not a length that there is
  void tapcode.request({ code_length: 5 });
  // @ts-expect-error: a status is read, nothing is done: it takes no key
  void tapcode.status("x", { idempotencyKey: "x" });
  try {
    return await tapcode.send({ external_id: "user-4711" }, { idempotencyKey: "order-7" });
  } catch (error) {
    if (error instanceof RateLimitedError) return error.retryAfter;
    if (error instanceof TapcodeError && error.code === "delivery_unknown") return undefined;
    throw error;
  }
}

export async function hear(request: Request, secret: string): Promise<string | number> {
  const event = await verifyEvent(await request.text(), request.headers, { secret });
  switch (event.type) {
    case "otp.wrong_code":
      return event.data.attempts_left;
    case "otp.failed":
      return event.data.reason;
    case "subscriber.left":
      // @ts-expect-error: a person leaves all purposes
      void event.data.purpose;
      return event.data.subscriber_id;
    case "unknown":
      return event.unknown_type;
    default:
      return event.id;
  }
}
