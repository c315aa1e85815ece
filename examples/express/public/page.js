// Makes the pages livelier; each works without it too (then reload to see whether a code was sent).

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const shown = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(shown.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(shown); // not allowed: at least it is marked, ready to be copied
    }
  });
}

// The same form twice would be two codes.
for (const form of document.forms) {
  form.addEventListener("submit", () => setTimeout(() => form.querySelectorAll("button").forEach((button) => (button.disabled = true))));
}
addEventListener("pageshow", () => document.querySelectorAll("form button").forEach((button) => (button.disabled = false)));

const ENTERING_MS = 5_000;
const TROUBLE_MS = 3_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ways = document.getElementById("ways");
if (ways) follow(ways.dataset.state);

/**
 * Asks the site for as long as something can change. The site holds each question until there is consent, for up to 20 seconds. While the code is
 * being entered it asks now and then: the person can still press "It wasn't me" in the chat.
 */
async function follow(state) {
  const help = document.getElementById("help");
  const helping = state === "waiting" && setTimeout(() => (help.hidden = false), Number(help.dataset.helpIn));
  while (state === "waiting" || state === "enter") {
    if (state === "enter") await pause(ENTERING_MS);
    if (state === "enter" && document.hidden) continue;
    const asked = performance.now();
    const told = await ask();
    if (told.state === "elsewhere") return location.assign("/login/code"); // signed in, begun anew in another tab, or ended in the chat
    if (state === "waiting" || (told.state && told.state !== state)) say(told); // what was said of a wrong code stays
    if (told.state && told.state !== state) {
      state = told.state;
      clearTimeout(helping);
      help.hidden = ways.hidden = true;
      document.getElementById("enter").hidden = state !== "enter";
      document.getElementById("again").className = state === "over" ? "main" : "small-button";
      if (state === "enter") document.getElementById("code").focus();
    } else if (state === "waiting" && performance.now() - asked < 1000) {
      await pause(TROUBLE_MS); // nothing new and at once: something is wrong, or another tab waits already
    }
  }
}

async function ask() {
  try {
    const answer = await fetch("/login/status", { headers: { Accept: "application/json" } });
    return await answer.json();
  } catch {
    return { tone: "bad", text: "No connection. We go on trying." };
  }
}

function say({ heading, tone, text }) {
  if (heading) {
    document.getElementById("heading").textContent = heading;
    document.title = `${heading} · Daisy`;
  }
  const notice = document.getElementById("notice");
  notice.className = `notice ${tone}`;
  if (notice.textContent !== text) notice.textContent = text;
}
