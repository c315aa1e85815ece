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

const ways = document.getElementById("ways");
if (ways && !ways.hidden) follow();

/** Asks the site until the request is over; the site holds each question for up to 20 seconds. */
async function follow() {
  const help = document.getElementById("help");
  const helping = setTimeout(() => (help.hidden = false), Number(help.dataset.helpIn));
  for (;;) {
    const told = await ask();
    if (told.status === "none") return location.assign("/login"); // signed in, or begun anew, in another tab
    if (told.text) say(told);
    if (["sent", "cancelled", "expired"].includes(told.status)) {
      clearTimeout(helping);
      help.hidden = ways.hidden = true;
      document.getElementById("enter").hidden = told.again === true;
      document.getElementById("again").className = told.again ? "main" : "quiet";
      document.getElementById("code").focus();
      return;
    }
    if (told.status !== "pending") await new Promise((resolve) => setTimeout(resolve, 3000));
  }
}

async function ask() {
  try {
    const answer = await fetch("/login/status", { headers: { Accept: "application/json" } });
    return await answer.json();
  } catch {
    return { status: "unknown", tone: "bad", text: "No connection. We go on trying." };
  }
}

function say({ tone, text }) {
  const notice = document.getElementById("notice");
  notice.className = `notice ${tone}`;
  if (notice.textContent !== text) notice.textContent = text;
}
