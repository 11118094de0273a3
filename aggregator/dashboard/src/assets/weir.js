// Pages work without this file. It shows times in the viewer's zone, sorts tables, copies secrets and follows live figures and tables.
"use strict";

const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const showTimes = (within) => {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const utc = document.createElement("span");
    utc.className = "utc";
    utc.textContent = time.textContent;
    time.title = time.dateTime;
    time.replaceChildren(zone.format(new Date(time.dateTime)), utc);
  }
};

const collator = new Intl.Collator(undefined, { numeric: true });
const keyOf = (row, at) => {
  const cell = row.cells[at];
  return cell.dataset.sort ?? cell.textContent;
};
const compare = (a, b) => {
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? collator.compare(a, b) : difference;
};
const sort = (head) => {
  const body = head.closest("table").tBodies[0];
  const rows = [...body.rows].sort((a, b) => compare(keyOf(a, head.cellIndex), keyOf(b, head.cellIndex)));
  body.append(...(head.getAttribute("aria-sort") === "descending" ? rows.reverse() : rows));
};
const sortBy = (head) => {
  const next = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", next);
  sort(head);
};
const letSort = (within) => {
  for (const head of within.querySelectorAll("th[data-sorts]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(head));
    head.append(button);
  }
};
showTimes(document);
letSort(document);

for (const secret of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(secret.textContent);
    button.textContent = "Copied";
  });
  secret.after(" ", button);
}

// A second click would hide the key that the first one made. Browsers do not tell whether an answer was stopped: the form then works again
// at once after Esc, and in any case after a while. The server acts on a form once.
const sent = new Set();
const SENT_MS = 5_000;
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (sent.has(form)) {
      event.preventDefault();
      return;
    }
    sent.add(form);
    setTimeout(() => sent.delete(form), SENT_MS);
  });
}
addEventListener("keydown", ({ key }) => {
  if (key === "Escape") sent.clear();
});
addEventListener("pageshow", () => sent.clear());

// Whoever looks at figures that stand still has to know.
const still = document.createElement("p");
still.className = "notice warn";
still.setAttribute("role", "status");
let since = "";
const stands = (why) => {
  if (!still.isConnected) {
    since = zone.format(new Date());
    document.querySelector("main h1")?.after(still);
  }
  still.textContent = `Live figures stand still since ${since}: ${why}.`;
};
const AGAIN_MS = 10_000;
// A stream that is refused does not say why: another question for it does.
const whyRefused = async (address) => {
  const asked = new AbortController();
  const answer = await fetch(address, { redirect: "manual", signal: asked.signal }).catch(() => undefined);
  asked.abort();
  if (answer?.type === "opaqueredirect") return "you are signed out. Load the page again to sign in";
  if (answer?.status === 503) return "you, or all people together, have too many pages open that follow them. They go on once there is room";
  return "the server does not answer. They go on once it does";
};
const follow = (address, show) => {
  const source = new EventSource(address);
  source.addEventListener("message", (message) => {
    still.remove();
    show(JSON.parse(message.data));
  });
  source.addEventListener("error", async () => {
    if (!still.isConnected) stands("the server does not answer. They go on once it does");
    // After an answer that is no stream a browser does not ask again by itself.
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(() => follow(address, show), AGAIN_MS);
    stands(await whyRefused(address));
  });
};

const figures = document.querySelectorAll("[data-live]");
if (figures.length > 0) {
  follow("/ui/live", (values) => {
    for (const figure of figures) {
      const value = values[figure.dataset.live];
      if (typeof value === "string") figure.textContent = value;
    }
  });
}

// Of tables that stay, only the rows are replaced: the order, the focus and the place that a person scrolled to stay as well.
const tablesOf = (block) => [...block.querySelectorAll("table")];
const shape = (block) =>
  JSON.stringify([...block.children].map((part) => part.querySelector("thead")?.textContent ?? part.textContent));
const replace = (block, html) => {
  const next = document.createElement("div");
  next.innerHTML = html;
  showTimes(next);
  const now = tablesOf(block);
  if (shape(block) !== shape(next)) {
    letSort(next);
    block.replaceChildren(...next.childNodes);
    return;
  }
  for (const [at, table] of tablesOf(next).entries()) {
    now[at].tBodies[0].replaceChildren(...table.tBodies[0].rows);
    const head = now[at].querySelector("th[aria-sort]");
    if (head) sort(head);
  }
};
for (const block of document.querySelectorAll("[data-follow]")) {
  follow(block.dataset.follow, ({ html }) => replace(block, html));
}
