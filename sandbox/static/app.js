// Puts the page together: the site, the two phones, the log, and the state that the sandbox sends.

import { control, readState, ServiceClient } from "./api.js";
import { setText, wait } from "./dom.js";
import { applyLanguage, CHANNELS, currentLanguage, onLanguage, setLanguage, t } from "./i18n.js";
import { CallLog } from "./log.js";
import { Phone } from "./phone.js";
import { Site } from "./site.js";

const QUARTER_HOUR_SECONDS = 900;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

const find = (selector) => document.querySelector(selector);
const findAll = (selector) => document.querySelectorAll(selector);
const client = new ServiceClient();
const log = new CallLog(find(".log"), client);
const site = new Site(find(".site"), client, { openLink, onNews: () => markUnread("site") });
const phones = Object.fromEntries(Object.keys(CHANNELS).map((channel) => [
  channel, new Phone(find(`.${channel}`), { openElsewhere, onBotMessage: markUnread }),
]));
let clockOffset = 0;

function start() {
  find(".later").addEventListener("click", passQuarterHour);
  for (const button of findAll("[data-page-language]")) {
    button.addEventListener("click", () => setLanguage(button.dataset.pageLanguage));
  }
  for (const button of findAll("[data-view]")) button.addEventListener("click", () => showView(button.dataset.view));
  onLanguage(drawAll);
  applyLanguage();
  showView("site");
  setInterval(showTime, 5000);
  followState();
}

function drawAll() {
  for (const button of findAll("[data-page-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.pageLanguage === currentLanguage()));
  }
  for (const phone of Object.values(phones)) phone.redraw();
  site.draw();
  log.redraw();
  showTime();
  teachPhones();
}

/** A phone that nobody has used yet speaks the language of the page. */
function teachPhones() {
  for (const phone of Object.values(phones)) {
    const { messages, language } = phone.state ?? {};
    if (messages?.length === 0 && language !== currentLanguage()) phone.speak(currentLanguage());
  }
}

// ---- the state of the sandbox

/** Waits for each new state, forever. After a failure it starts over, since the service may be a new one. */
async function followState() {
  let version = null;
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    try {
      const state = await readState(version);
      version = state.version;
      pause = FIRST_PAUSE_MS;
      applyState(state);
      showConnection(true);
    } catch {
      version = null;
      showConnection(false);
      await wait(pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }
}

function applyState(state) {
  const restarted = client.facts && client.facts.api_key !== state.facts.api_key;
  client.facts = state.facts;
  clockOffset = state.clock_offset_seconds;
  setText(find(".version"), state.facts.version);
  for (const [channel, phone] of Object.entries(phones)) {
    const personBefore = phone.state?.user_id;
    phone.update(state.phones[channel]);
    if (personBefore && personBefore !== phone.state.user_id) site.forget(channel);
  }
  if (restarted) {
    site.startOver();
    client.clearLog();
  }
  showTime();
  if (restarted || !document.body.classList.contains("ready")) teachPhones();
  document.body.classList.add("ready");
}

function showConnection(alive) {
  setText(find(".connection"), alive ? "" : t("connectionLost"));
}

// ---- the clock

async function passQuarterHour() {
  try {
    await control("clock", { advance_seconds: QUARTER_HOUR_SECONDS });
  } catch {
    showConnection(false);
  }
}

function showTime() {
  const time = new Date(Date.now() + clockOffset * 1000);
  for (const phone of Object.values(phones)) {
    phone.showTime(`${time.getHours()}:${String(time.getMinutes()).padStart(2, "0")}`);
  }
  const minutes = Math.round(clockOffset / 60);
  setText(find(".clock"), minutes ? t("clock", { minutes }) : "");
}

// ---- from one part of the page to another

function openLink(channel, link, instead) {
  showView(channel);
  phones[channel].open(link, instead);
}

/** A link button in a chat: a messenger's own link opens on its phone, any other in a new tab. */
function openElsewhere(link) {
  const channel = { "t.me": "telegram", "max.ru": "max" }[new URL(link).hostname];
  if (channel) openLink(channel, link);
  else window.open(link, "_blank", "noopener");
}

/** On a narrow screen one part shows at a time; on a wide one this changes nothing visible. */
function showView(name) {
  document.body.dataset.show = name;
  for (const button of findAll("[data-view]")) {
    button.setAttribute("aria-current", String(button.dataset.view === name));
  }
  setText(find(`[data-view="${name}"] .unread`), "");
  if (getComputedStyle(find(".tabs")).display === "none") return;
  window.scrollTo(0, 0);
  phones[name]?.scrollToEnd();
}

function markUnread(name) {
  if (document.body.dataset.show !== name) setText(find(`[data-view="${name}"] .unread`), t("unread"));
}

start();
