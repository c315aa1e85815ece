// A service that answers by a script, and time that passes only while everybody waits.

import { Tapcode } from "tapcode-client";

export const KEY = "tc_test_" + "k".repeat(40);
export const URL_OF_SERVICE = "http://otp.example";

/** Time that stands still until `run` finds that nothing else happens: then it is the next alarm's. */
export class FakeClock {
  #now = 1_700_000_000_000;
  #alarms = [];
  /** How long each sleep was meant to last that came to its end. */
  slept = [];

  now() {
    return this.#now;
  }

  sleep(ms, signal) {
    return new Promise((resolve) => {
      const alarm = { at: this.#now + ms, ms, resolve };
      this.#alarms.push(alarm);
      signal.addEventListener("abort", () => (this.#alarms = this.#alarms.filter((one) => one !== alarm)));
    });
  }

  pass(ms) {
    this.#now += ms;
  }

  async run(promise) {
    let over = false;
    const end = () => (over = true);
    promise.then(end, end);
    for (let idle = 0; !over && idle < 1000; idle++) {
      await new Promise(setImmediate);
      const next = this.#alarms.sort((a, b) => a.at - b.at).shift();
      if (over || next === undefined) continue;
      this.#now = Math.max(this.#now, next.at);
      this.slept.push(next.ms);
      next.resolve();
    }
    return promise;
  }
}

/** Answers one after the other, the last one again and again. Each is made by `answer`, `problem`, `broken` or is a function of the call. */
export function scripted(...answers) {
  const calls = [];
  const fetch = async (url, init) => {
    const call = { url, method: init.method, headers: init.headers, body: init.body && JSON.parse(init.body), signal: init.signal, init };
    calls.push(call);
    const next = answers[Math.min(calls.length, answers.length) - 1];
    return next(call);
  };
  return { fetch, calls };
}

export const answer =
  (body, status = 200, headers = {}) =>
  () =>
    new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers: { "X-Request-Id": "req-1", ...headers } });

export const problem = (code, status, { retryable = false, retryAfter, ...more } = {}) =>
  answer({ type: `urn:tapcode:error:${code}`, title: "T", status, detail: `About ${code}.`, code, retryable, ...more }, status, {
    "Content-Type": "application/problem+json",
    ...(retryAfter !== undefined && { "Retry-After": String(retryAfter) }),
  });

/** What Node's fetch throws when nobody listens; here with a text that holds the key, as some of its errors do. */
export const broken = () => {
  throw Object.assign(new TypeError(`fetch failed for Bearer ${KEY}`), { cause: { code: "ECONNREFUSED" } });
};

export const silent = () => new Promise(() => {});

export function client(script, options = {}) {
  const clock = new FakeClock();
  const tapcode = new Tapcode({ baseUrl: URL_OF_SERVICE, apiKey: KEY, fetch: script.fetch, clock, random: () => 0.5, ...options });
  return { tapcode, clock };
}
