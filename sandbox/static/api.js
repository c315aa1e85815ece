// The two APIs the page talks to: the service's own (as a site's backend would) and the sandbox's controls.

const CALL_TIMEOUT_MS = 45_000;
const LONG_POLL_TIMEOUT_MS = 30_000;
const LOG_LENGTH = 60;
const NO_ANSWER = { status: 0, ok: false, retryAfter: null, body: null };

async function fetchJson(path, options, timeout) {
  const response = await fetch(path, {
    cache: "no-store",
    credentials: "omit",
    signal: AbortSignal.timeout(timeout),
    ...options,
  });
  return {
    status: response.status,
    ok: response.ok,
    retryAfter: response.headers.get("Retry-After"),
    body: parse(await response.text()),
  };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function jsonPost(body, headers = {}) {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  };
}

/** The state of the sandbox; with `after`, waits until the version is another one. */
export async function readState(after) {
  const query = after === null ? "" : `?after=${after}`;
  const answer = await fetchJson(`/sandbox/state${query}`, {}, LONG_POLL_TIMEOUT_MS);
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.body;
}

/** One act of a person or of the clock, e.g. control("max/say", {text}). Throws with a sentence. */
export async function control(path, body = {}) {
  const answer = await fetchJson(`/sandbox/${path}`, jsonPost(body), CALL_TIMEOUT_MS);
  if (!answer.ok) throw new Error(answer.body?.error ?? `HTTP ${answer.status}`);
  return answer.body;
}

/** `text` as one word of a POSIX shell, whatever it contains. */
export function shellQuote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The call as a curl command; its parts stand on lines of their own so that it can be read. */
export function curlLine({ method, path, body }, facts) {
  const parts = [`curl -sS ${shellQuote(facts.base_url.replace(/\/+$/, "") + path)}`];
  if (method !== "GET") parts[0] = parts[0].replace("-sS", `-sS -X ${method}`);
  parts.push(`-H ${shellQuote(`Authorization: Bearer ${facts.api_key}`)}`);
  if (body !== undefined) {
    parts.push(`-H ${shellQuote("Content-Type: application/json")}`);
    parts.push(`-d ${shellQuote(JSON.stringify(body))}`);
  }
  return parts.join(" \\\n  ");
}

/** The site's own client of the service. Keeps a log of its calls, newest first. */
export class ServiceClient {
  constructor() {
    this.facts = null;
    this.log = [];
    this.onLog = () => {};
  }

  /** `wishes` may hold "match", "phone" and "context". */
  requestCode(wishes) {
    return this.#call("POST", "/v1/otp/request", wishes);
  }

  requestStatus(requestId) {
    return this.#call("GET", `/v1/otp/request/${encodeURIComponent(requestId)}/status`);
  }

  /** `wishes` may hold "reuse" and "context". */
  sendCode(subscriberId, wishes) {
    return this.#call("POST", "/v1/otp/send", { subscriber_id: subscriberId, ...wishes });
  }

  /** `requestId` ties the answer to one request's code; null after a code that was sent directly. */
  verifyCode(subscriberId, code, requestId) {
    const body = { subscriber_id: subscriberId, code };
    if (requestId) body.request_id = requestId;
    return this.#call("POST", "/v1/otp/verify", body);
  }

  clearLog() {
    this.log = [];
    this.onLog();
  }

  async #call(method, path, body) {
    if (!this.facts) return NO_ANSWER; // the sandbox has not said yet which key to use
    const authorization = { Authorization: `Bearer ${this.facts.api_key}` };
    const options = body === undefined ? { headers: authorization } : jsonPost(body, authorization);
    const answer = await fetchJson(path, options, CALL_TIMEOUT_MS).catch(() => NO_ANSWER);
    this.#record({ method, path, body }, answer);
    return answer;
  }

  #record(call, answer) {
    const curl = curlLine(call, this.facts);
    const text = answer.status ? JSON.stringify(answer.body, null, 2) : "";
    const newest = this.log[0];
    // Polling asks the same once a second: the same question with the same answer is one entry with a count.
    if (newest && newest.curl === curl && newest.text === text && call.method === "GET") {
      newest.count += 1;
    } else {
      this.log.unshift({ ...call, curl, text, status: answer.status, count: 1 });
      this.log.length = Math.min(this.log.length, LOG_LENGTH);
    }
    this.onLog();
  }
}
