// Small helpers around the document. Data reaches the page as text only, never as markup.

import { t } from "./i18n.js";

/** An element with a class, a text and attributes. */
export function make(tag, className = "", text = "", attributes = {}) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** A button that calls `act` when pressed. */
export function makeButton(className, text, act, attributes = {}) {
  const button = make("button", className, text, { type: "button", ...attributes });
  button.addEventListener("click", act);
  return button;
}

/** Sets a text only when it differs, so that a live region is not read out twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Copies `text`; resolves to a sentence that says how it went. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return t("copied");
  } catch {
    return t("copyFailed");
  }
}

/** Copies `text` and says how it went in `note`, which reads "Copy" again soon after. */
export async function copyAndSay(note, text) {
  setText(note, await copyText(text));
  await wait(1800);
  setText(note, t("copy"));
}

export function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
