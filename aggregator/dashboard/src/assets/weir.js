// Pages work without this file. It shows times in the viewer's zone, sorts tables, copies secrets and follows live figures.
"use strict";

const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
for (const time of document.querySelectorAll("time[datetime]")) {
  const utc = document.createElement("span");
  utc.className = "utc";
  utc.textContent = time.textContent;
  time.title = time.dateTime;
  time.replaceChildren(zone.format(new Date(time.dateTime)), utc);
}

const collator = new Intl.Collator(undefined, { numeric: true });
const keyOf = (row, at) => {
  const cell = row.cells[at];
  return cell.dataset.sort ?? cell.textContent;
};
const compare = (a, b) => {
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? collator.compare(a, b) : difference;
};
const sortBy = (head) => {
  const body = head.closest("table").tBodies[0];
  const descending = head.getAttribute("aria-sort") === "ascending";
  const rows = [...body.rows].sort((a, b) => compare(keyOf(a, head.cellIndex), keyOf(b, head.cellIndex)));
  body.append(...(descending ? rows.reverse() : rows));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
};
for (const head of document.querySelectorAll("th[data-sorts]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sortBy(head));
  head.append(button);
}

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

const figures = document.querySelectorAll("[data-live]");
if (figures.length > 0) {
  const stream = new EventSource("/ui/live");
  stream.addEventListener("message", (message) => {
    const values = JSON.parse(message.data);
    for (const figure of figures) {
      const value = values[figure.dataset.live];
      if (typeof value === "string") figure.textContent = value;
    }
  });
}
