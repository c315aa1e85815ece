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
  pressNumber: ["Press this number in the chat", "Нажмите это число в чате"],
  typeCode: ["Or type this code to the bot:", "Или напечатайте боту этот код:"],
  wantMatch: ["Match a number", "Сверить число"],
  wantContext: ["Say who is asking", "Сказать, кто запрашивает"],
  wantPhone: ["Ask for the phone number (Telegram)", "Спросить номер телефона (Telegram)"],
  phoneTold: ["The phone number, told once:", "Номер телефона, сообщён один раз:"],
  wantSame: ["The same code again, if it still works", "Тот же код ещё раз, если он действует"],
  directTitle: ["The site knows you", "Сайт вас уже знает"],
  sendTo: ["Send a code directly to {channel}", "Отправить код сразу в {channel}"],

  start: ["Press the button to begin.", "Нажмите кнопку, чтобы начать."],
  busy: ["One moment…", "Секунду…"],
  pending: ["Waiting. Open one of the links and answer the bot.", "Ждём. Откройте одну из ссылок и ответьте боту."],
  sentSame: ["The code is in {channel}: the same one again.", "Код пришёл в {channel}: тот же ещё раз."],
  sent: ["The code is in {channel}. Enter it here.", "Код пришёл в {channel}. Введите его здесь."],
  cancelled: ["Cancelled in the bot. No code was sent.", "Запрос отменён в боте. Код не отправлен."],
  reported: ["The person said: it wasn't me. The code is void.", "Человек сообщил: «Это не я». Код больше не действует."],
  expired: ["The link has expired. Get another code.", "Срок ссылки истёк. Получите новый код."],
  verified: ["You are signed in. The code cannot be used again.", "Вы вошли. Второй раз код не подойдёт."],
  forgotten: ["A new person on the {channel} phone: the site starts again.",
    "На телефоне с {channel} новый человек: сайт начал сначала."],
  restarted: ["The sandbox was restarted: the site forgot everything.", "Песочница перезапущена: сайт всё забыл."],
  emptyCode: ["Enter the code first.", "Сначала введите код."],
  wrong_code: ["Wrong code. Attempts left: {left}.", "Неверный код. Осталось попыток: {left}."],
  wrongLast: ["Wrong code, and no attempts are left.", "Неверный код, попыток больше нет."],
  no_active_code: ["This code does not work any more. Get another one.", "Этот код больше не действует. Получите новый."],
  locked: ["Too many wrong codes: signing in is locked. Unlock it in the bot.",
    "Слишком много неверных кодов: вход закрыт. Разблокируйте его в боте."],
  malformed_code: ["This is not a code: six digits are needed.", "Это не код: нужны шесть цифр."],

  noAnswer: ["The service does not answer. Is it still running?", "Сервис не отвечает. Он запущен?"],
  refused: ["The service refused: {title}", "Сервис отказал: {title}"],
  retry: ["Try again in {seconds} s.", "Повторите через {seconds} с."],
  subscriber_not_found: ["You are not subscribed (any more). Get a code through a link.", "Подписки нет. Получите код по ссылке."],
  request_not_found: ["This request is gone. Get another code.", "Такого запроса больше нет. Получите новый код."],
  rate_limited: ["Too many codes in a short time.", "Слишком много кодов за короткое время."],

  phoneOf: ["{channel} phone", "Телефон с {channel}"],
  chatOf: ["Chat with the bot in {channel}", "Чат с ботом в {channel}"],
  phoneLanguage: ["Language of the {channel} phone", "Язык телефона с {channel}"],
  block: ["Block bot", "Заблокировать бота"],
  unblock: ["Unblock bot", "Разблокировать бота"],
  newPerson: ["New person", "Новый человек"],
  bot: ["bot", "бот"],
  blocked: ["blocked", "заблокирован"],
  ownKeys: ["Keys in place of the keyboard", "Кнопки вместо клавиатуры"],
  foreignContact: ["Somebody else's contact", "Чужой контакт"],
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
  try2: ["Press “15 minutes later” before you agree (the link expires) or after (the code does).",
    "Нажмите «15 минут спустя» до согласия (истечёт ссылка) или после (истечёт код)."],
  try3: ["Enter wrong codes until no attempts are left.", "Вводите неверные коды, пока не кончатся попытки."],
  try4: ["Sign in and get another code on the same phone: it comes without a question.",
    "Войдите и получите новый код на том же телефоне: он придёт без вопроса."],
  try5: ["Send /stop and leave, or block the bot; then send a code directly.",
    "Отпишитесь через /stop или заблокируйте бота, а потом отправьте код сразу."],
  try6: ["Open the links of one request on both phones.", "Откройте ссылки одного запроса на обоих телефонах."],

  try7: ["Tick “Match a number” and press a wrong number in the chat.", "Отметьте «Сверить число» и нажмите в чате неверное."],
  try8: ["Press “Send again” or “It wasn't me” under a code.", "Нажмите под кодом «Отправить ещё раз» или «Это не я»."],
  try9: ["Send the bot a bare /start, then the code shown beside the links.",
    "Отправьте боту просто /start, а затем код, что рядом со ссылками."],
  try10: ["Tick “Ask for the phone number”, and share your own contact or somebody else's.",
    "Отметьте «Спросить номер телефона» и поделитесь своим контактом или чужим."],

  logTitle: ["What the site asked the service", "Что сайт спросил у сервиса"],
  logText: ["As curl for a shell, newest first.", "В виде curl для командной строки, новые сверху."],
  logEmpty: ["No calls yet: get a code on the site.", "Пока пусто: получите код на сайте."],
  times: ["{count} times", "повторов: {count}"],
  nothing: ["no answer", "нет ответа"],
  copy: ["Copy", "Копировать"],
  copied: ["Copied", "Скопировано"],
  copyFailed: ["Select it by hand", "Выделите вручную"],
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
