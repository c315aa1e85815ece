// The site: who may see what, and the two ways a code is used. To sign in, when all we have is a browser; and to confirm, when we know the person.

import { isIP } from "node:net";
import { csrfSync } from "csrf-sync";
import express from "express";
import session from "express-session";
import * as sentences from "./sentences.js";

const HELP_AFTER_MS = 60_000;
const ASK_TAPCODE_SECONDS = 20;
const PRICE = "12.00 €";

export function siteOf({ tapcode, accounts, sessionSecret, live, sandbox }) {
  const site = express();
  const { csrfSynchronisedProtection, generateToken } = csrfSync({ getTokenFromRequest: (req) => req.body?.csrf });
  site.disable("x-powered-by");
  site.set("view engine", "ejs");
  site.set("views", new URL("views", import.meta.url).pathname);
  if (live) site.set("trust proxy", 1); // one proxy, which ends TLS; else cookies would not be set
  site.use(safeHeaders);
  site.use(express.static(new URL("public", import.meta.url).pathname));
  site.use(
    session({
      name: live ? "__Host-session" : "session",
      secret: sessionSecret, // signs the cookie, so that nobody can name a session that is not theirs
      resave: false,
      saveUninitialized: false,
      cookie: { httpOnly: true, sameSite: "lax", secure: live, maxAge: 7 * 86_400_000 },
    }),
  );
  site.use(express.urlencoded({ extended: false, limit: "4kb" }));
  site.use(csrfSynchronisedProtection); // every POST: its form must hold the token of this browser's session
  site.use((req, res, next) => {
    res.locals = { csrf: generateToken(req), account: accounts.byId(req.session.accountId), sandbox, notice: undefined, price: PRICE };
    next();
  });

  // ---- signing in

  site.get("/login", (req, res) => {
    if (res.locals.account) return res.redirect(303, "/");
    res.render("login");
  });

  site.post("/login", async (req, res) => {
    const { login } = req.session;
    if (login) tapcode.cancel(login.requestId).catch(() => {}); // an old link that still lies around leads nowhere; if that fails, it expires
    try {
      const request = await tapcode.request({ context: { action: "Sign in", ...(isIP(req.ip) && { ip: req.ip }) } });
      // Here the request is bound to this browser. All that follows takes it from the session, and nothing of it from a form or an address.
      req.session.login = {
        requestId: request.request_id,
        telegramLink: request.telegram_link,
        maxLink: request.max_link,
        pairingCode: request.pairing_code,
        askedAt: Date.now(),
      };
    } catch (error) {
      return res.status(503).render("login", { notice: sentences.ofError(error) });
    }
    res.redirect(303, "/login/code");
  });

  site.get("/login/code", async (req, res) => {
    const { login } = req.session;
    if (!login) return res.redirect(303, "/login");
    try {
      const status = await tapcode.status(login.requestId);
      renderCode(res, login, sentences.ofStatus(status), status.status === "pending");
    } catch (error) {
      renderCode(res, login, sentences.ofError(error), true);
    }
  });

  /** The browser asks us, and we ask tapcode: the key never leaves this server. Answers at the change, or after 20 seconds. */
  site.get("/login/status", async (req, res) => {
    const { login } = req.session;
    if (!login) return res.status(404).json({ status: "none" });
    const gone = new AbortController();
    res.on("close", () => gone.abort());
    try {
      const status = await tapcode.wait(login.requestId, { seconds: ASK_TAPCODE_SECONDS, signal: gone.signal });
      res.json({ status: status.status, ...sentences.ofStatus(status) });
    } catch (error) {
      if (!gone.signal.aborted) res.status(503).json({ status: "unknown", ...sentences.ofError(error) });
    }
  });

  site.post("/login/code", async (req, res) => {
    const { login } = req.session;
    if (!login) return res.redirect(303, "/login");
    try {
      const status = await tapcode.status(login.requestId);
      if (status.status === "pending") return renderCode(res, login, sentences.TOO_EARLY, true);
      if (status.status !== "sent") return renderCode(res, login, sentences.ofStatus(status));
      // With the request's id no other code is accepted: not one that was sent for another browser's request, nor for another purpose.
      const guess = { subscriber_id: status.subscriber_id, request_id: login.requestId, code: typed(req) };
      const verdict = await tapcode.verify(guess);
      if (!verdict.verified) return renderCode(res, login, sentences.ofVerdict(verdict));
      // Not before this line does the subscriber's id belong to an account: until now it was whoever opened the link.
      const account = accounts.ofVerified(status.subscriber_id, status.channel);
      await regenerated(req); // a new session id: whoever knew the old one, and planted it perhaps, is not signed in with us
      req.session.accountId = account.id;
    } catch (error) {
      return renderCode(res.status(503), login, sentences.ofError(error)); // also when the answer got lost: then nobody was verified
    }
    res.redirect(303, "/");
  });

  site.post("/logout", (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.redirect(303, "/login")));
  });

  // ---- for who is signed in

  site.use((req, res, next) => (res.locals.account ? next() : res.redirect(303, "/login")));

  site.get("/", (req, res) => {
    const { paid } = req.session;
    delete req.session.paid;
    res.render("home", paid ? { notice: { tone: "good", text: `Paid: ${PRICE}.` } } : {});
  });

  /** The person is known: the code goes straight into their chat, and says what it is for. */
  site.post("/payment", async (req, res) => {
    const context = { action: "Pay", amount: PRICE };
    try {
      await tapcode.send({ subscriber_id: res.locals.account.subscriberId, purpose: "payment", context });
      req.session.paying = true;
    } catch (error) {
      const notice = sentences.ofSendError(error);
      if (!notice.mayHaveArrived) return res.status(503).render("home", { notice });
      req.session.paying = true;
      return res.render("payment", { notice });
    }
    res.redirect(303, "/payment");
  });

  site.get("/payment", (req, res) => {
    if (!req.session.paying) return res.redirect(303, "/");
    res.render("payment", { notice: { tone: "good", text: `The code is in ${sentences.MESSENGERS[res.locals.account.channel]}. Enter it here.` } });
  });

  site.post("/payment/code", async (req, res) => {
    if (!req.session.paying) return res.redirect(303, "/");
    try {
      // Without a request there is no request id: the purpose keeps a code of signing in from paying.
      const verdict = await tapcode.verify({ subscriber_id: res.locals.account.subscriberId, purpose: "payment", code: typed(req) });
      if (!verdict.verified) return res.render("payment", { notice: sentences.ofVerdict(verdict) });
    } catch (error) {
      return res.status(503).render("payment", { notice: sentences.ofError(error) });
    }
    delete req.session.paying;
    req.session.paid = true;
    res.redirect(303, "/");
  });

  site.use((error, req, res, _next) => {
    const status = error.status ?? 500; // 403: a form without this session's token, most often one that lay open over a restart
    if (status >= 500) console.error(error);
    const text = status === 403 ? "This page was open for too long. Begin again." : "Something went wrong on our side.";
    res.locals = { csrf: "", account: undefined, sandbox: undefined, price: PRICE, notice: { tone: "bad", text } };
    res.status(status).render("sorry");
  });
  return site;
}

/** `waiting`: the request is still pending, as far as we know, so the page shows the ways to the bot and goes on asking. */
function renderCode(res, login, notice, waiting = false) {
  const helpInMs = Math.max(0, login.askedAt + HELP_AFTER_MS - Date.now());
  res.render("code", { login, notice, waiting, helpInMs });
}

/** As it was typed: tapcode itself ignores spaces and dashes. An empty field is no code, and asking would be an error of ours. */
function typed(req) {
  const { code } = req.body;
  return typeof code === "string" && code.length > 0 ? code.slice(0, 64) : " ";
}

function regenerated(req) {
  return new Promise((resolve, reject) => req.session.regenerate((error) => (error ? reject(error) : resolve())));
}

function safeHeaders(req, res, next) {
  res.set({
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
  });
  next();
}
