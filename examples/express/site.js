// The site: who may see what, and the two ways a code is used. To sign in, when all we have is a browser; and to confirm, when we know the person.

import { randomBytes } from "node:crypto";
import { isIP } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { csrfSync } from "csrf-sync";
import express from "express";
import session from "express-session";
import * as sentences from "./sentences.js";
import { lineOf } from "./trouble.js";

const HELP_AFTER_MS = 60_000;
const ASK_TAPCODE_SECONDS = 20;
const SIGNING_IN_MS = 30 * 60_000; // the link's 15 minutes and the code's
const SIGNED_IN_MS = 7 * 86_400_000;
const PRICE = "12.00 €";

export function siteOf({ tapcode, tapcodeUrl, accounts, store, sessionSecret, live, sandbox }) {
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
      store, // in memory when there is none
      name: live ? "__Host-session" : "session",
      secret: sessionSecret, // signs the cookie, so that nobody can name a session that is not theirs
      resave: false,
      saveUninitialized: false,
      cookie: { httpOnly: true, sameSite: "lax", secure: live, maxAge: SIGNING_IN_MS },
    }),
  );
  site.use(express.urlencoded({ extended: false, limit: "4kb" }));
  site.use(csrfSynchronisedProtection); // every POST: its form must hold the token of this browser's session
  site.use((req, res, next) => {
    res.locals = { csrf: req.session.csrfToken, account: accounts.byId(req.session.accountId), sandbox, notice: undefined, price: PRICE };
    next();
  });
  /** For pages with a form. A token makes a session, which is stored; whoever only passes by gets neither. */
  const withToken = (req, res, next) => {
    res.locals.csrf = generateToken(req);
    next();
  };
  /** What the visitor is told of a call that failed; the rest goes into the log. */
  const told = (error, sentence = sentences.ofError(error)) => {
    console.warn(lineOf(error, tapcodeUrl));
    return sentence;
  };
  const waits = new Set(); // sessions that wait at tapcode now

  // ---- signing in

  site.get("/login", withToken, (req, res) => {
    if (res.locals.account) return res.redirect(303, "/");
    res.render("login");
  });

  site.post("/login", async (req, res) => {
    const { login: old } = req.session;
    try {
      const request = await tapcode.request({ context: { action: "Sign in", ...(isIP(req.ip) && { ip: req.ip }) } });
      // Here the request is bound to this browser. All that follows takes it from the session, and nothing of it from a form or an address.
      req.session.login = {
        requestId: request.request_id,
        telegramLink: request.telegram_link,
        maxLink: request.max_link,
        channels: request.channels,
        pairingCode: request.pairing_code,
        askedAt: Date.now(),
      };
    } catch (error) {
      return res.status(503).render("login", { notice: told(error) });
    }
    await saved(req); // before the old one is cancelled: another tab that waits for it must not take this for a "Cancel" of the person
    if (old) tapcode.cancel(old.requestId).catch(() => {}); // an old link that still lies around leads nowhere; if that fails, it expires
    res.redirect(303, "/login/code");
  });

  site.get("/login/code", async (req, res) => {
    const { login } = req.session;
    if (!login) return res.redirect(303, "/login");
    try {
      const status = await tapcode.status(login.requestId);
      if (status.reported) return end(req, res, status);
      renderCode(res, login, sentences.ofStatus(status));
    } catch (error) {
      renderCode(res, login, { state: "waiting", ...told(error) });
    }
  });

  /**
   * The browser asks us, and we ask tapcode: the key never leaves this server. Answers at the change, or after 20 seconds. One question of a
   * session waits; those of its other tabs are answered at once.
   */
  site.get("/login/status", async (req, res) => {
    const { login } = req.session;
    if (!login) return res.status(404).json({ state: "elsewhere" });
    const gone = new AbortController();
    res.on("close", () => gone.abort());
    const waiting = !waits.has(req.sessionID);
    if (waiting) waits.add(req.sessionID);
    try {
      const how = { signal: gone.signal };
      const status = waiting
        ? await tapcode.wait(login.requestId, { seconds: ASK_TAPCODE_SECONDS, ...how })
        : await tapcode.status(login.requestId, how);
      // Signed in or begun anew in another tab meanwhile, or ended by the person: `/login/code` knows what to do.
      const elsewhere = status.reported || !(await isStill(login, req));
      res.json(elsewhere ? { state: "elsewhere" } : sentences.ofStatus(status));
    } catch (error) {
      if (!gone.signal.aborted) res.status(503).json(told(error));
    } finally {
      if (waiting) waits.delete(req.sessionID);
    }
  });

  site.post("/login/code", async (req, res) => {
    const { login } = req.session;
    if (!login) return res.redirect(303, "/login");
    try {
      const status = await tapcode.status(login.requestId);
      if (status.reported) return end(req, res, status);
      if (status.status === "pending") return renderCode(res, login, sentences.TOO_EARLY);
      if (status.status !== "sent") return renderCode(res, login, sentences.ofStatus(status));
      const code = typed(req);
      if (!code) return renderCode(res, login, sentences.MALFORMED);
      // With the request's id no other code is accepted: not one that was sent for another browser's request, nor for another purpose.
      const verdict = await tapcode.verify({ subscriber_id: status.subscriber_id, request_id: login.requestId, code });
      if (!verdict.verified) {
        if (verdict.reason === "no_active_code") {
          const now = await tapcode.status(login.requestId);
          if (now.reported) return end(req, res, now);
          // The same right code twice at once: the other answer signs this browser in, so there is nothing to complain of.
          if (now.verified && (await soon(async () => !(await isStill(login, req))))) return res.redirect(303, "/");
        }
        return renderCode(res, login, sentences.ofVerdict(verdict));
      }
      // Not before this line does the subscriber's id belong to an account: until now it was whoever opened the link.
      const account = accounts.ofVerified(status.subscriber_id, status.channel);
      await regenerated(req); // a new session id: whoever knew the old one, and planted it perhaps, is not signed in with us
      req.session.accountId = account.id;
      req.session.cookie.maxAge = SIGNED_IN_MS;
      await saved(req);
    } catch (error) {
      // Also when the answer got lost: then nobody was verified.
      return renderCode(res.status(503), login, { state: "enter", ...told(error) });
    }
    res.redirect(303, "/");
  });

  site.post("/logout", (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.redirect(303, "/login")));
  });

  // ---- for who is signed in

  site.use((req, res, next) => (res.locals.account ? withToken(req, res, next) : res.redirect(303, "/login")));

  site.get("/", (req, res) => {
    const { paid } = req.session;
    delete req.session.paid;
    res.render("home", paid ? { notice: { tone: "good", text: `Paid: ${paid.amount}.` } } : {});
  });

  /** The person is known: the code goes straight into their chat, and says what it is for. */
  site.post("/payment", async (req, res) => {
    // What is paid is kept in this session, and that is what a code pays. The same order when a new code is wanted, another one for another basket.
    const { paying: begun } = req.session;
    const paying = begun?.amount === PRICE ? begun : { order: randomBytes(8).toString("hex"), amount: PRICE };
    const context = { action: "Pay", amount: paying.amount };
    try {
      await tapcode.send({ subscriber_id: res.locals.account.subscriberId, purpose: purposeOf(paying), context });
      req.session.paying = paying;
    } catch (error) {
      const notice = told(error, sentences.ofSendError(error));
      if (!notice.mayHaveArrived) return res.status(503).render("home", { notice });
      req.session.paying = paying;
      return res.render("payment", { paying, notice });
    }
    await saved(req);
    res.redirect(303, "/payment");
  });

  site.get("/payment", (req, res) => {
    const { paying } = req.session;
    if (!paying) return res.redirect(303, "/");
    const text = `The code is in ${sentences.MESSENGERS[res.locals.account.channel]}. Enter it here.`;
    res.render("payment", { paying, notice: { tone: "good", text } });
  });

  site.post("/payment/code", async (req, res) => {
    const { paying } = req.session;
    if (!paying) return res.redirect(303, "/");
    const code = typed(req);
    if (!code) return res.render("payment", { paying, notice: sentences.MALFORMED });
    try {
      const verdict = await tapcode.verify({ subscriber_id: res.locals.account.subscriberId, purpose: purposeOf(paying), code });
      if (!verdict.verified) {
        const isPaid = async () => (await stored(req))?.paying?.order !== paying.order;
        if (verdict.reason === "no_active_code" && (await isPaid())) return res.redirect(303, "/");
        return res.render("payment", { paying, notice: sentences.ofVerdict(verdict) });
      }
    } catch (error) {
      return res.status(503).render("payment", { paying, notice: told(error) });
    }
    // Here you would take the money: `paying.amount` for `paying.order`, which is what the person read in the chat.
    delete req.session.paying;
    req.session.paid = paying;
    await saved(req);
    res.redirect(303, "/");
  });

  site.use((error, req, res, _next) => {
    const status = error.status ?? 500; // 403: a form without this session's token, most often one that lay open over a restart
    if (status >= 500) console.error(error);
    const text = status === 403 ? "This page was open for too long. Begin again." : "Something went wrong on our side.";
    res.locals = { csrf: "", account: undefined, sandbox: undefined, price: PRICE, notice: { tone: "bad", text } };
    res.status(status).render("sorry", { heading: "Sorry" });
  });
  return site;
}

/** The page of a sign-in: `view` is what `sentences.js` says, with the `state` that decides what is there. */
function renderCode(res, login, view) {
  const { state, heading = sentences.HEADINGS[state] } = view;
  const helpInMs = Math.max(0, login.askedAt + HELP_AFTER_MS - Date.now());
  res.render("code", { login, state, heading, notice: view, helpInMs, bots: botsOf(login) });
}

/** "It wasn't me": this browser asked for a code in somebody else's name, or somebody did in its own. Forget all of it, and offer nothing. */
async function end(req, res, status) {
  const { heading, ...notice } = sentences.ofStatus(status);
  await new Promise((resolve, reject) => req.session.destroy((error) => (error ? reject(error) : resolve())));
  res.render("sorry", { heading, notice });
}

/** Those that work are first. How the bots are called stands in the links: `https://t.me/shop_bot?start=...`. */
function botsOf({ telegramLink, maxLink, channels }) {
  const offers = [["Telegram", telegramLink, channels.telegram], ["MAX", maxLink, channels.max]].filter(([, link]) => link);
  const bots = offers.map(([messenger, link, health]) => ({ messenger, link, name: `@${new URL(link).pathname.slice(1)}`, slow: health !== "ok" }));
  return bots.sort((one, other) => one.slow - other.slow);
}

/** A purpose for each order: a code for one can't pay for another one, in whichever session that is. */
function purposeOf(paying) {
  return `pay-${paying.order}`;
}

/** As it was typed: tapcode itself ignores spaces and dashes. An empty field is undefined: there is nothing to ask about. */
function typed(req) {
  const { code } = req.body;
  return typeof code === "string" && code.length > 0 ? code.slice(0, 64) : undefined;
}

/** This browser's session as it is in the store now; undefined when it is not there any more. */
function stored(req) {
  return new Promise((resolve, reject) => req.sessionStore.get(req.sessionID, (error, found) => (error ? reject(error) : resolve(found))));
}

async function isStill(login, req) {
  return (await stored(req))?.login?.requestId === login.requestId;
}

/** Whether it is so within a second. */
async function soon(isSo) {
  for (let tries = 0; tries < 10; tries++) {
    if (await isSo()) return true;
    await pause(100);
  }
  return false;
}

/** Before every redirect: a browser follows it as soon as the headers are there, with a slow store before the session is. */
function saved(req) {
  return new Promise((resolve, reject) => req.session.save((error) => (error ? reject(error) : resolve())));
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
