// The words of the page, English and Russian side by side, and the switch between them.

const STORE_KEY = "tapcode-sandbox-language";
const LANGUAGES = ["en", "ru"];

const WORDS = {
  title: ["tapcode sandbox", "Песочница tapcode"],
  intro: ["Real service, simulated messengers. Nothing leaves this computer.",
    "Сервис настоящий, мессенджеры имитируются. Всё остаётся на этом компьютере."],
  pageLanguage: ["Language of the page", "Язык страницы"],
  later: ["15 minutes later", "15 минут спустя"],
  clock: ["+{minutes} min", "+{minutes} мин"],
  connectionLost: ["Connection lost. Is the service running? Trying again…", "Нет связи. Сервис запущен? Пробуем ещё раз…"],
  views: ["Parts of the page", "Части страницы"],
  viewSite: ["Site", "Сайт"],
  viewCalls: ["Calls", "Запросы"],
  unread: ["(new)", "(новое)"],

  shop: ["Daisy", "Ромашка"],
  signIn: ["Sign in", "Вход"],
  signInText: ["No password: we send a one-time code to your messenger.", "Без пароля: пришлём одноразовый код в мессенджер."],
  getCode: ["Get a code", "Получить код"],
  getAnother: ["Get another code", "Получить новый код"],
  openIn: ["Open in {channel}", "Открыть в {channel}"],
  codeLabel: ["Code from the messenger", "Код из мессенджера"],
  check: ["Sign in", "Войти"],
  signOut: ["Sign out and try again", "Выйти и попробовать ещё"],
  directTitle: ["The site knows you", "Сайт вас уже знает"],
  directText: ["No link is needed: the code goes straight to the chat.", "Ссылка не нужна: код придёт прямо в чат."],
  sendTo: ["Send a code directly to {channel}", "Отправить код сразу в {channel}"],

  start: ["Press the button to begin.", "Нажмите кнопку, чтобы начать."],
  busy: ["One moment…", "Секунду…"],
  pending: ["Waiting. Open one of the links and agree in the bot.", "Ждём. Откройте одну из ссылок и согласитесь в боте."],
  sent: ["The code is in {channel}. Enter it here.", "Код пришёл в {channel}. Введите его здесь."],
  cancelled: ["Cancelled in the bot. No code was sent.", "Запрос отменён в боте. Код не отправлен."],
  expired: ["The link has expired: it lives for 15 minutes. Get another code.",
    "Срок ссылки истёк: она живёт 15 минут. Получите новый код."],
  verified: ["You are signed in: the code was right. It cannot be used again.",
    "Вы вошли: код верный. Второй раз он не подойдёт."],
  forgotten: ["There is a new person on the {channel} phone: the site starts again.",
    "На телефоне с {channel} новый человек: сайт начинает сначала."],
  wrong_code: ["Wrong code. Attempts left: {left}.", "Неверный код. Осталось попыток: {left}."],
  wrongLast: ["Wrong code, and no attempts are left. Get another code.", "Неверный код, попыток больше нет. Получите новый код."],
  no_active_code: ["This code does not work any more: used, expired or replaced. Get another one.",
    "Этот код больше не действует: использован, истёк или заменён. Получите новый."],
  locked: ["Too many wrong codes: signing in is locked. Open a new link, the bot will offer to unlock.",
    "Слишком много неверных кодов: вход заблокирован. Откройте новую ссылку, бот предложит разблокировать."],
  malformed_code: ["This is not a code: six digits are needed. No attempt was spent.",
    "Это не похоже на код: нужны шесть цифр. Попытка не потрачена."],

  noAnswer: ["The service does not answer. Is it still running?", "Сервис не отвечает. Он запущен?"],
  refused: ["The service refused: {title}", "Сервис отказал: {title}"],
  retry: ["Try again in {seconds} s.", "Повторите через {seconds} с."],
  subscriber_not_found: ["You are not subscribed: you left with /stop or blocked the bot. Get a code through a link.",
    "Подписки нет: вы отписались через /stop или заблокировали бота. Получите код по ссылке."],
  request_not_found: ["The service does not know this request any more. Get another code.",
    "Сервис больше не помнит этот запрос. Получите новый код."],
  rate_limited: ["Too many codes in a short time.", "Слишком много кодов за короткое время."],

  phoneOf: ["{channel} phone", "Телефон с {channel}"],
  chatOf: ["Chat with the bot in {channel}", "Чат с ботом в {channel}"],
  phoneLanguage: ["Language of the {channel} phone", "Язык телефона с {channel}"],
  block: ["Block bot", "Заблокировать бота"],
  unblock: ["Unblock bot", "Разблокировать бота"],
  newPerson: ["New person", "Новый человек"],
  bot: ["bot", "бот"],
  blocked: ["blocked", "заблокирован"],
  emptyChat: ["No messages yet. Get a code on the site and open the link here.",
    "Пока пусто. Получите код на сайте и откройте ссылку здесь."],
  edited: ["edited", "изменено"],
  message: ["Message", "Сообщение"],
  unblockFirst: ["Unblock the bot to write", "Сначала разблокируйте бота"],
  send: ["Send", "Отправить"],
  copyCode: ["Copy {text}", "Скопировать {text}"],
  silent: ["MAX says nothing to the bot on a repeated link. Type or paste this instead:",
    "MAX ничего не сообщает боту о повторной ссылке. Напечатайте или вставьте вместо неё:"],
  type: ["Type {text}", "Напечатать {text}"],

  tryTitle: ["Try also", "Попробуйте ещё"],
  try1: ["Press Cancel in the bot and look at the site.", "Нажмите в боте «Отмена» и посмотрите на сайт."],
  try2: ["Get a code and press “15 minutes later”: before you agree, the link expires; after that, the code does.",
    "Получите код и нажмите «15 минут спустя»: до согласия истечёт срок ссылки, после него — срок кода."],
  try3: ["Enter a wrong code three times.", "Введите неверный код три раза."],
  try4: ["Sign in and get another code on the same phone: it comes without a question. In MAX, type otp_…",
    "Войдите и получите новый код на том же телефоне: он придёт без вопроса. В MAX напечатайте otp_…"],
  try5: ["Send /stop and leave, or block the bot; then send a code directly.",
    "Отпишитесь через /stop или заблокируйте бота, а потом отправьте код сразу."],
  try6: ["Open the links of one request on both phones.", "Откройте ссылки одного запроса на обоих телефонах."],

  logTitle: ["What the site asked the service", "Что сайт спросил у сервиса"],
  logText: ["As curl for a shell, newest first.", "В виде curl для командной строки, новые сверху."],
  logEmpty: ["No calls yet: get a code on the site.", "Пока пусто: получите код на сайте."],
  times: ["{count} times", "повторов: {count}"],
  nothing: ["no answer", "нет ответа"],
  copy: ["Copy", "Копировать"],
  copied: ["Copied", "Скопировано"],
  copyFailed: ["Copying is not allowed here: select the text by hand.", "Копировать нельзя: выделите текст вручную."],
};

export const CHANNELS = { telegram: "Telegram", max: "MAX" };

let language = startLanguage();
const listeners = [];

function startLanguage() {
  // Storage may be forbidden (private mode, blocked site data); the page works without it.
  try {
    const stored = localStorage.getItem(STORE_KEY);
    if (LANGUAGES.includes(stored)) return stored;
  } catch { /* the browser's language decides */ }
  return navigator.language.toLowerCase().startsWith("ru") ? "ru" : "en";
}

export function currentLanguage() {
  return language;
}

export function hasWords(key) {
  return Object.hasOwn(WORDS, key);
}

/** The sentence for `key` in the language that is on, with {name} replaced from `values`. */
export function t(key, values = {}) {
  const sentence = WORDS[key]?.[LANGUAGES.indexOf(language)] ?? String(key);
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Calls `listener` after each change of language. */
export function onLanguage(listener) {
  listeners.push(listener);
}

export function setLanguage(next) {
  language = next;
  try {
    localStorage.setItem(STORE_KEY, next);
  } catch { /* not remembered, nothing else is lost */ }
  applyLanguage();
}

/** Puts the language on the document and tells everybody who drew words. */
export function applyLanguage() {
  document.documentElement.lang = language;
  document.title = t("title");
  translate();
  for (const listener of listeners) listener();
}

/** Fills the fixed words: data-t is the text, data-label the accessible name, data-channel fills {channel}. */
function translate() {
  for (const element of document.querySelectorAll("[data-t], [data-label]")) {
    const channel = CHANNELS[element.closest("[data-channel]")?.dataset.channel];
    const { t: text, label } = element.dataset;
    if (text) element.textContent = t(text, { channel });
    if (label) element.setAttribute("aria-label", t(label, { channel }));
  }
}
