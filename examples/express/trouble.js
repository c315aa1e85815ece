// A call that failed, for whoever runs the site: what visitors are told says nothing of it, the log must.

const HINTS = {
  unauthorized: "Was the sandbox started again (each start makes a new key), or is this another one, on another port? KEY=…, TAPCODE_URL=…",
  project_disabled: "The operator of tapcode switched the project off: main.py project enable",
  no_answer: "Does tapcode run, and on that port? TAPCODE_URL=…",
};
HINTS.unexpected_answer = HINTS.not_found = "Something else listens there: is tapcode on another port? TAPCODE_URL=…";

/** One line: where, what, and what it is most often. Holds neither key nor code. */
export function lineOf(error, tapcodeUrl) {
  const line = `tapcode at ${tapcodeUrl}: ${error.message} (${error.requestId ? `request ${error.requestId}` : "no request id"})`;
  return HINTS[error.code] ? `${line}\n  ${HINTS[error.code]}` : line;
}

/** Asks after a request that does not exist, which harms nothing; undefined when tapcode knows the key, else the error. */
export async function troubleAtStart(tapcode) {
  try {
    await tapcode.status("0".repeat(16), { maxRetries: 0, timeoutMs: 5_000 });
  } catch (error) {
    if (error.code !== "request_not_found") return error;
  }
}
