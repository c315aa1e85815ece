// What the person is told: what is known, no more, and what to do next. `tone` colours it. On the page of a sign-in `state` says what the page is:
// `waiting` for consent, `enter` the code, `over` (a new link is offered), `ended` (it is not).

import { TapcodeError } from "tapcode-client";

export const MESSENGERS = { telegram: "Telegram", max: "MAX" };
export const HEADINGS = { waiting: "Get the code", enter: "Enter the code", over: "Get a new code" };

export function ofStatus(status) {
  if (status.reported) {
    const text = "Whoever got the code pressed “It wasn’t me” in the chat. The code is dead, and nobody is signed in here.";
    return { state: "ended", heading: "This sign-in was ended", tone: "bad", text };
  }
  switch (status.status) {
    case "sent":
      return { state: "enter", heading: HEADINGS.enter, tone: "good", text: `The code is in ${MESSENGERS[status.channel]}. Enter it here.` };
    case "cancelled":
      return { state: "over", heading: "Cancelled", tone: "bad", text: "You pressed Cancel in the messenger. No code is on its way." };
    case "expired":
      return { state: "over", heading: "The link is out of date", tone: "bad", text: "The 15 minutes of this link are over. Get a new one." };
    default:
      return { state: "waiting", heading: HEADINGS.waiting, tone: "wait", text: "Waiting for you to agree in the messenger…" };
  }
}

export const MALFORMED = { state: "enter", tone: "bad", text: "That is not a whole code. Look again: nothing was counted." };

export function ofVerdict({ reason, attempts_left: left }) {
  switch (reason) {
    case "malformed_code":
      return MALFORMED;
    case "wrong_code":
      return left > 0
        ? { state: "enter", tone: "bad", text: `That is not the code. ${left === 1 ? "One try is" : `${left} tries are`} left.` }
        : { state: "over", tone: "bad", text: "That is not the code, and it was the last try. Get a new one." };
    case "locked":
      return { state: "over", tone: "bad", text: "Too many wrong codes were entered. Get a new link: the bot will ask you to unlock." };
    default:
      return { state: "over", tone: "bad", text: "This code does not work any more: it was used, replaced, or its time is over. Get a new one." };
  }
}

/** A code was entered while the request is still pending: without the subscriber's id there is nothing to check it against. */
export const TOO_EARLY = {
  state: "waiting",
  tone: "wait",
  text: "We have not heard yet that a code was delivered. If one is in the chat already, press “Send again” there, and enter it once this page says so.",
};

const UNKNOWN = {
  tone: "wait",
  mayHaveArrived: true,
  text: "Nobody knows whether the messenger took the code. It may have arrived: look into the chat. If nothing is there, ask again.",
};

/** What the site may say of a failed `send`. `mayHaveArrived`: go on and show the field for the code. */
export function ofSendError(error) {
  const told = ofError(error);
  return error.code === "no_answer" ? UNKNOWN : told;
}

/** The same for any other call. Throws what is none. */
export function ofError(error) {
  if (!(error instanceof TapcodeError)) throw error;
  switch (error.code) {
    case "rate_limited":
      return { tone: "bad", text: `Too many codes were asked for. Try again in ${inWords(error.retryAfter ?? 60)}.` };
    case "send_in_progress":
      return { tone: "wait", mayHaveArrived: true, text: "A code is on its way already. Look into the chat before you ask for another one." };
    case "delivery_unknown":
      return UNKNOWN;
    case "delivery_failed":
      return { tone: "bad", text: "The messenger did not take the message. A code that you have already is still good." };
    case "subscriber_locked":
      return { tone: "bad", text: "Too many wrong codes were entered. Sign out and get a new link: the bot will ask you to unlock." };
    case "subscriber_not_found":
      return { tone: "bad", text: "The bot can’t write to you any more. Sign out, sign in again, and agree in the chat." };
    case "request_not_found":
      return { state: "over", tone: "bad", text: "This was too long ago. Begin again." };
    case "too_many_purposes":
      return { tone: "bad", text: "Too many codes are open. Use one of them, or wait until one is over." };
    case "unauthorized": // our key
    case "project_disabled":
    case "unexpected_answer": // our address
    case "not_found":
      return { tone: "bad", text: "Something is wrong on our side, and we have to mend it: trying again will not help." };
    default:
      return { tone: "bad", text: "Codes can’t be asked for or checked at the moment. It is not your fault: try again in a minute." };
  }
}

function inWords(seconds) {
  if (seconds < 90) return `${seconds} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}
