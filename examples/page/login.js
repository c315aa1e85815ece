// The page of the examples: it talks to its own site alone, which holds the API key. What it knows lies in the site's session.
"use strict";

const TEXTS = {
  en: {
    intro: "Sign in with a code that our bot sends you in Telegram or MAX.",
    getCode: "Get a code",
    open: "Open the bot. If it asks, press “Get the code”.",
    late: (messengers) => `Slow to answer right now: ${messengers}. The code may be late.`,
    silent: "The bot stays silent, or the messenger is on another device? Send the bot this:",
    orThis: "Or this, which does the same:",
    copy: "Copy",
    copied: "Copied",
    code: "Code from the messenger",
    confirm: "Confirm",
    again: "Begin again",
    sendAgain: "Send again",
    signedIn: "You are signed in as",
    pay: "Pay 100 ₽ with a code",
    paid: "Confirmed: the payment of 100 ₽.",
    signOut: "Sign out",
    waiting: "Waiting for you in the messenger…",
    slow: "Nothing yet after a minute. Send the bot one of the texts above, or begin again. If you have a code already and this page does not ask for it, press “Send again” in the chat.",
    sent: (messenger) => `The code is in ${messenger || "your messenger"}. Enter it here and nowhere else.`,
    reported: "This sign-in was ended: somebody pressed “It wasn’t me” in the chat, and its code is dead. If you want to sign in, reload this page.",
    reportedBefore: "The last sign-in here was ended: somebody pressed “It wasn’t me” in the chat.",
    cancelled: "It was cancelled in the chat. If that was not you, somebody else had your link: begin again, and show it to nobody.",
    expired: "The link was good for 15 minutes, and they are over. Begin again.",
    wrong_code: (n) => (n ? `This is not the code. Attempts left: ${n}.` : "This is not the code, and there are no attempts left. Get a new one."),
    malformed_code: "That is not a whole code. Look again: it did not cost an attempt.",
    no_active_code: "This code does not work any more: it was used, replaced, or its time is over. Get a new one.",
    locked: "Too many wrong codes in a row. Begin again and open the link: the bot will offer to unlock.",
    delivery_unknown: "The messenger did not say whether it took the message, so the code may have arrived. Enter it if it did, or send again.",
    delivery_failed: "The messenger refused the message. A code that you got before is still good.",
    send_in_progress: (s) => `A code is on its way to you already. Wait ${seconds(s)}, then try again.`,
    rate_limited: (s) => `Too many codes or attempts for now. Try again in ${seconds(s)}.`,
    subscriber_not_found: "The bot can't write to you: you left or blocked it. Sign out, and sign in by its link.",
    subscriber_locked: "Too many wrong codes in a row. Sign out, and sign in by the link: the bot will offer to unlock.",
    messenger_unavailable: (s) => `The messenger can't be reached, and nothing was sent. Try again in ${seconds(s)}.`,
    not_asked: "This browser has no code to wait for, or it was too long ago. Begin here, in the browser where you want to sign in.",
    not_checked: "We could not check the code and do not know whether it counts as used. Try it once more, or get a new one.",
    too_old: "This page is too old. Reload it.",
    unavailable: "Codes can't be sent right now, and that is our fault. Try again in a minute.",
    offline: "No connection to the site. Trying again…",
    unit: ["s", "min"],
  },
  ru: {
    intro: "Войдите по коду, который наш бот пришлёт вам в Telegram или MAX.",
    getCode: "Получить код",
    open: "Откройте бота. Если он спросит, нажмите «Получить код».",
    late: (messengers) => `Сейчас отвечает медленно: ${messengers}. Код может задержаться.`,
    silent: "Бот молчит или мессенджер на другом устройстве? Отправьте боту это:",
    orThis: "Или это, результат тот же:",
    copy: "Скопировать",
    copied: "Скопировано",
    code: "Код из мессенджера",
    confirm: "Подтвердить",
    again: "Начать заново",
    sendAgain: "Отправить ещё раз",
    signedIn: "Вы вошли как",
    pay: "Оплатить 100 ₽ с подтверждением кодом",
    paid: "Оплата 100 ₽ подтверждена.",
    signOut: "Выйти",
    waiting: "Ждём вас в мессенджере…",
    slow: "Прошла минута, а ответа из мессенджера всё нет. Отправьте боту один из текстов, которые показаны выше, или начните заново. Если код у вас уже есть, а страница его не просит, нажмите в чате «Отправить ещё раз».",
    sent: (messenger) => `Код у вас в ${messenger || "мессенджере"}. Введите его здесь и больше нигде.`,
    reported: "Этот вход остановлен: в чате нажали «Это не я», и код больше не действует. Если войти хотите вы, обновите страницу.",
    reportedBefore: "Прошлый вход остановлен: в чате нажали «Это не я».",
    cancelled: "Запрос отменён в чате. Если это были не вы, ваша ссылка попала к кому-то ещё: начните заново и никому не показывайте новую.",
    expired: "Ссылка действовала 15 минут, и её срок истёк. Начните заново.",
    wrong_code: (n) => (n ? `Неверный код. Осталось попыток: ${n}.` : "Неверный код, и попыток больше нет. Получите новый."),
    malformed_code: "Это не весь код. Посмотрите ещё раз: попытка не потрачена.",
    no_active_code: "Этот код больше не действует: он использован, заменён или просрочен. Получите новый.",
    locked: "Слишком много неверных кодов подряд. Начните заново и откройте ссылку: бот предложит снять блокировку.",
    delivery_unknown: "Мессенджер не сообщил, принял ли он сообщение, поэтому код мог дойти. Если он пришёл, введите его, если нет — отправьте ещё раз.",
    delivery_failed: "Мессенджер не принял сообщение. Код, полученный раньше, ещё действует.",
    send_in_progress: (s) => `Код уже отправляется. Подождите ${seconds(s)} и попробуйте ещё раз.`,
    rate_limited: (s) => `Слишком много кодов или попыток. Попробуйте через ${seconds(s)}.`,
    subscriber_not_found: "Бот не может вам написать: вы отписались или заблокировали его. Выйдите и войдите снова, по ссылке на бота.",
    subscriber_locked: "Слишком много неверных кодов подряд. Выйдите и войдите снова, по ссылке: бот предложит снять блокировку.",
    messenger_unavailable: (s) => `Мессенджер недоступен, ничего не отправлено. Попробуйте через ${seconds(s)}.`,
    not_asked: "В этом браузере код не запрашивали, или это было слишком давно. Начните в том браузере, в котором хотите войти.",
    not_checked: "Не удалось проверить код, и неизвестно, считается ли он использованным. Введите его ещё раз или получите новый.",
    too_old: "Страница устарела. Обновите её.",
    unavailable: "Сейчас не получается отправлять коды, и это наша вина. Попробуйте через минуту.",
    offline: "Нет связи с сайтом. Пробуем ещё раз…",
    unit: ["с", "мин"],
  },
};
const texts = TEXTS[document.documentElement.lang] || TEXTS.en;
const MESSENGERS = { telegram: "Telegram", max: "MAX" };
const SLOW_MS = 60_000;
const LOOK_MS = 5_000;
const LOOKS = 120; // ten minutes: longer than the code lives
const byId = (id) => document.getElementById(id);

function seconds(count) {
  const [second, minute] = texts.unit;
  return (count || 1) < 100 ? `${count || 1} ${second}` : `${Math.ceil(count / 60)} ${minute}`;
}

/** What the site answers; `{error: "offline"}` when it does not. */
async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") {
    headers["X-CSRFToken"] = document.querySelector("meta[name=csrf-token]").content; // another site can't know it
    headers["Content-Type"] = "application/json";
  }
  try {
    const answer = await fetch(path, { method, headers, body: method === "GET" ? undefined : JSON.stringify(body || {}) });
    if (answer.status === 403) return { error: "too_old" };
    return await answer.json();
  } catch {
    return { error: "offline" };
  }
}

function say(name, { ill = false, about } = {}) {
  const text = texts[name] || texts.unavailable;
  byId("message").textContent = typeof text === "function" ? text(about) : text;
  byId("message").classList.toggle("ill", ill);
}

function sayError(answer) {
  say(answer.error, { ill: true, about: answer.retry_after });
}

function offer(name, act) {
  byId("again").hidden = !name;
  byId("again").textContent = name ? texts[name] : "";
  byId("again").onclick = act;
}

function askForCode() {
  byId("enter").hidden = false;
  byId("code").value = "";
  byId("code").focus();
}

// ---- signing in

let round = 0; // what an earlier round hears does not matter any more

async function begin() {
  byId("get-code").disabled = true;
  const shown = await call("POST", "/login/start");
  byId("get-code").disabled = false;
  if (shown.error) return sayError(shown);
  show(shown);
}

/** Shows where the code comes from, and waits for it. `loaded`: the page was loaded anew, which is no sign of a new wish. */
function show(shown, loaded = false) {
  byId("get-code").hidden = true;
  byId("ways").hidden = false;
  byId("enter").hidden = true;
  const isSlow = (channel) => shown.channels[channel] !== "ok";
  const offered = ["telegram", "max"].filter((channel) => shown[`${channel}_link`]); // null: this messenger is off
  const slow = offered.filter(isSlow);
  byId("late").hidden = !slow.length;
  byId("late").textContent = texts.late(slow.map((channel) => MESSENGERS[channel]).join(", "));
  for (const channel of ["telegram", "max"]) byId(channel).hidden = !offered.includes(channel);
  for (const channel of offered.sort((one, other) => isSlow(one) - isSlow(other))) { // who works is first
    const link = shown[`${channel}_link`];
    byId("links").append(byId(channel));
    byId(channel).classList.toggle("plain", isSlow(channel));
    byId(channel).href = link;
    byId(channel).querySelector("small").textContent = "@" + new URL(link).pathname.slice(1); // to be found on another device
  }
  byId("pairing").textContent = shown.pairing_code;
  byId("chat-text").textContent = shown.chat_text;
  byId("more").hidden = true;
  say("waiting");
  offer("again", begin);
  wait(++round, shown.asked, loaded);
}

/** What the site says of the request that this page shows; another tab of this browser may have gone on. */
function state(asked) {
  return call("GET", `/login/status?asked=${asked}`);
}

/** Asks the site, which waits for tapcode's answer, again and again until it is not pending. */
async function wait(mine, asked, loaded) {
  const slow = setTimeout(() => mine === round && help(), SLOW_MS);
  let answer;
  for (;;) {
    answer = await state(asked);
    if (mine !== round) return;
    const passes = answer.error && answer.error !== "not_asked";
    if (!passes && answer.status !== "pending") break;
    loaded = false;
    if (passes) {
      sayError(answer);
      await pause(1000 * Math.min(answer.retry_after || 2, 30));
      if (mine !== round) return;
      say("waiting");
    }
  }
  clearTimeout(slow);
  if (answer.status === "replaced") return follow();
  byId("ways").hidden = true;
  if (answer.status === "reported" && loaded) { // whoever loads the page anew wants to sign in
    byId("get-code").hidden = false;
    return ended("reportedBefore");
  }
  if (answer.status !== "sent") return ended(answer.error || answer.status);
  say("sent", { about: MESSENGERS[answer.channel] });
  askForCode();
  watch(mine, asked);
}

/** While the code is typed: the person in the chat may say that it was not them, and another tab may go on. */
async function watch(mine, asked) {
  for (let left = LOOKS; left > 0; left--) {
    await pause(LOOK_MS);
    if (mine !== round) return;
    const { status } = await state(asked);
    if (mine !== round) return;
    if (status === "reported") return ended(status);
    if (status === "replaced") return follow();
  }
}

/** Another tab of this browser began again, or signed in. */
async function follow() {
  const shown = await call("GET", "/login/current");
  if (shown.pairing_code) show(shown);
  else location.reload();
}

function help() {
  byId("more").hidden = false;
  say("slow");
}

function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

function ended(why) {
  round++;
  say(why, { ill: true });
  byId("enter").hidden = true;
  offer(why.startsWith("reported") ? null : "again", begin); // a new code might trouble the same person again
}

// ---- signed in: a payment is confirmed by a code that goes straight into the chat

async function pay() {
  byId("pay").disabled = true;
  const answer = await call("POST", "/payment/start");
  byId("pay").disabled = false;
  if (answer.error) sayError(answer);
  else say("sent");
  if (!answer.error || answer.error === "delivery_unknown") { // it may have arrived
    askForCode();
    offer("sendAgain", pay);
  }
}

async function signOut() {
  await call("POST", "/logout");
  location.reload();
}

// ---- the code

async function enter(event) {
  event.preventDefault();
  const path = byId("inside") ? "/payment/verify" : "/login/verify";
  const button = byId("enter").querySelector("button");
  button.disabled = true; // a second press would ask about a code that the first one uses up
  const answer = await call("POST", path, { code: byId("code").value });
  button.disabled = false;
  if (answer.verified) return path === "/login/verify" ? location.reload() : confirmed();
  if (answer.error === "not_asked" || answer.error === "reported") return ended(answer.error);
  if (answer.error === "rate_limited" || answer.error === "too_old") return sayError(answer);
  if (answer.error) return say("not_checked", { ill: true });
  say(answer.reason, { ill: true, about: answer.attempts_left });
  byId("code").select();
}

function confirmed() {
  byId("enter").hidden = true;
  say("paid");
  offer(null);
}

async function copy(event) {
  const source = byId(event.target.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    event.target.textContent = texts.copied;
    setTimeout(() => (event.target.textContent = texts.copy), 2000);
  } catch {
    getSelection().selectAllChildren(source); // without a clipboard the person copies what is marked
  }
}

async function start() {
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text];
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", copy);
  byId("enter").addEventListener("submit", enter);
  if (byId("inside")) {
    byId("pay").addEventListener("click", pay);
    byId("sign-out").addEventListener("click", signOut);
    return;
  }
  byId("get-code").addEventListener("click", begin);
  const shown = await call("GET", "/login/current"); // phones throw pages away while the messenger is in front
  if (shown.pairing_code) show(shown, true);
}

start();
