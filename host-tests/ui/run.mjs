// Looks at the dashboard of the demo in Debian's Chromium, as people see it: every page in a light and a dark theme and on a phone,
// without serious findings of axe, errors in the console or a request to another host; signing in and out, and what people do there.
//
//   node host-tests/ui/run.mjs PATH_OF_weir-demo [FOLDER_FOR_PICTURES [FOLDER_FOR_DRAWINGS]]
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const root = new URL("../..", import.meta.url).pathname;
const require = createRequire(join(root, ".tools/browser/package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [demo, pictures, drawings] = process.argv.slice(2);

/** How long the demo may take to start, in milliseconds. */
const START_MAX_MS = 120_000;
/** The most bytes of a first load. */
const FIRST_LOAD_MAX_BYTES = 150_000;
const VIEWS = [
  { name: "light", colorScheme: "light", viewport: { width: 1280, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  { name: "phone", colorScheme: "light", viewport: { width: 390, height: 844 } },
];
const PAGES = [
  "overview", "tenants", "tenants?sort=margin", "tenants/globex", "tenants/globex/bill", "budgets", "budgets/one?tenant=acme&budget=daily", "limits", "money",
  "money?by=feature", "money/crossover?hour=2.50&tokens_per_second=1000", "money/review", "money/compare?tenant=globex", "billing", "alerts", "models", "tokens", "requests", "gateways",
];

/** Starts the demo, and returns what it prints once it is up. */
const startDemo = () =>
  new Promise((resolve, reject) => {
    const child = spawn(demo, ["run"], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
    // Also where something fails that nobody waits for.
    process.once("exit", () => child.kill("SIGINT"));
    let said = "";
    const late = setTimeout(() => {
      child.kill("SIGINT");
      reject(new Error(`the demo is not up in time:\n${said}`));
    }, START_MAX_MS);
    child.once("exit", (code) => reject(new Error(`the demo ended with ${code}:\n${said}`)));
    child.stdout.setEncoding("utf8").on("data", (text) => {
      said += text;
      if (!said.includes("Ctrl-C ends everything")) return;
      clearTimeout(late);
      const find = (pattern) => said.match(pattern)?.[1] ?? reject(new Error(`no ${pattern} in\n${said}`));
      resolve({
        child,
        gateway: find(/gateway\s+(http\S+)/),
        url: find(/(http\S+\/ui)\b/),
        token: find(/sign in with the token (\S+)/),
        link: find(/(http\S+\/ui\/link\S+)/),
        key: find(/Bearer (sk_weir_demo_globex\S+?)'/),
        jwt: find(/v1\/messages -H 'Authorization: Bearer (\S+?)'/),
        weir: find(/^ {2}(\S+ --config \S+) usage$/m),
      });
    });
  });

const run = (command, ...words) =>
  new Promise((resolve, reject) => {
    const [program, ...first] = command.split(" ");
    const child = spawn(program, [...first, ...words], { stdio: ["ignore", "ignore", "inherit"] });
    child.once("exit", (code) => (code === 0 || code === 3 ? resolve() : reject(new Error(`${command} ${words}: ${code}`))));
  });

/** Real traffic: some of two tenants, and some of nobody. */
const sendTraffic = async ({ gateway, key, jwt }) => {
  const post = (path, bearer, body) =>
    fetch(`${gateway}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    }).then((answer) => answer.text());
  const messages = [{ role: "user", content: "Why is the sky blue?" }];
  for (let n = 0; n < 20; n += 1) {
    await post("/v1/chat/completions", key, { model: "gpt-4o", messages });
    await post("/v1/messages", jwt, { model: "claude-sonnet-4-5", max_tokens: 64, messages });
  }
  await post("/v1/chat/completions", "nobody", { model: "gpt-4o", messages });
};

/** A page that fails the run at the first error in its console and the first request to another host. */
const open = async (context, url) => {
  const page = await context.newPage();
  const troubles = [];
  page.on("console", (message) => message.type() === "error" && troubles.push(`${page.url()}: ${message.text()}`));
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(url).host) troubles.push(`asked ${request.url()}`);
  });
  return { page, troubles };
};

const signIn = async (page, { url, token }) => {
  await page.goto(url);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/ui/overview");
};

/** Goes to a page, and waits until all of its figures are there: it loads again by itself while some are being read. */
const look = async (page, url) => {
  await page.goto(url);
  await page.waitForFunction(() => !document.querySelector(".notice a[href='']"));
};

/** The serious findings of axe. The page's own policy forbids the script, so it runs in a world of its own. */
const findings = async (page) => {
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const world = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
  const expression = `${axe}; axe.run(document).then((found) => JSON.stringify(found.violations))`;
  const { result } = await session.send("Runtime.evaluate", {
    expression, contextId: world.executionContextId, awaitPromise: true, returnByValue: true,
  });
  await session.detach();
  const serious = JSON.parse(result.value).filter(({ impact }) => impact === "serious" || impact === "critical");
  return serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
};

/** Pages that README shows, each as an SVG that holds the page itself: text, and sharp at every size. */
const DRAWN = { overview: "overview", "tenants/globex": "tenant" };
const DRAWN_HEIGHT = 900;

const draw = async (page, name) => {
  const body = await page.evaluate(() => {
    const copy = document.body.cloneNode(true);
    for (const secret of copy.querySelectorAll("input[type=hidden]")) secret.remove();
    return new XMLSerializer().serializeToString(copy);
  });
  const style = readFileSync(join(root, "aggregator/dashboard/src/assets/weir.css"), "utf8");
  const { width } = page.viewportSize();
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${DRAWN_HEIGHT}" viewBox="0 0 ${width} ${DRAWN_HEIGHT}">` +
    `<foreignObject width="100%" height="100%"><style xmlns="http://www.w3.org/1999/xhtml">${style}</style>${body}</foreignObject></svg>`;
  writeFileSync(join(drawings, `${name}.svg`), `${svg.replaceAll(/> *</g, ">\n<")}\n`);
};

/** The tables that do not fit the window. */
const wideTables = (page) =>
  page.evaluate(() => {
    const wide = [...document.querySelectorAll(".wide")].map((one) => [one.ariaLabel, one.scrollWidth - one.clientWidth]);
    return wide.filter(([, more]) => more > 0).map(([table, more]) => `the table ${table} is ${more} pixels too wide`);
  });

const lookAtPages = async (browser, demo) => {
  for (const { name, ...view } of VIEWS) {
    const context = await browser.newContext({ ...view, timezoneId: "America/New_York" });
    const { page, troubles } = await open(context, demo.url);
    await page.goto(`${demo.url}/sign-in`);
    troubles.push(...(await findings(page)).map((found) => `sign-in: ${found}`));
    await signIn(page, demo);
    for (const path of PAGES) {
      await look(page, `${demo.url}/${path}`);
      assert.ok(await page.locator("h1").isVisible(), `${path}, ${name}`);
      troubles.push(...(await findings(page)).map((found) => `${path}: ${found}`));
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wider > 0) troubles.push(`${path} is ${wider} pixels too wide`);
      // On a phone wide tables scroll in their frame; a small laptop shows them whole.
      if (name !== "phone") troubles.push(...(await wideTables(page)).map((table) => `${path}: ${table}`));
      const file = path.replaceAll(/[^a-z]+/g, "-");
      if (pictures) await page.screenshot({ path: join(pictures, `${file}-${name}.png`), fullPage: true });
      if (drawings && name === "light" && DRAWN[path]) await draw(page, DRAWN[path]);
    }
    assert.deepEqual(troubles, [], name);
    await context.close();
  }
};

const firstLoadIsSmall = async (browser, demo) => {
  const context = await browser.newContext();
  const { page } = await open(context, demo.url);
  await signIn(page, demo);
  await page.goto(`${demo.url}/overview`);
  const bytes = await page.evaluate(() => {
    const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    return loaded.filter((one) => !one.name.endsWith("/live")).reduce((sum, one) => sum + one.decodedBodySize, 0);
  });
  assert.ok(bytes > 1_000 && bytes < FIRST_LOAD_MAX_BYTES, `${bytes} bytes`);
  console.log(`first load: ${bytes} bytes`);
  await context.close();
};

const figuresAreLive = async (browser, demo) => {
  const context = await browser.newContext();
  const { page } = await open(context, demo.url);
  await signIn(page, demo);
  await page.waitForFunction(() => /^[0-9,]+$/.test(document.querySelector("[data-live=per_second]").textContent));
  const before = await page.locator("[data-live=accepted]").textContent();
  await sendTraffic(demo);
  await page.waitForFunction((old) => document.querySelector("[data-live=accepted]").textContent !== old, before);
  await context.close();
};

/** A gateway's call for a lease of a limit that all gateways share. */
const lend = async ({ url, token }, gateway) => {
  const post = (path, bearer, body) =>
    fetch(new URL(path, url), {
      method: "POST",
      headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    }).then((answer) => answer.json());
  const made = await post("/v1/tokens", token, { name: gateway, scopes: ["directory"] });
  const definition = { capacity: 100, refill: 100, period_ms: 60_000 };
  const lease = { key: { owner: { tenant: "globex" }, limit: "requests" }, definition, lease: 1, want: 100, largest: 1 };
  return post("/v1/leases", made.token, { gateway, sent_ms: 1, draws: true, leases: [lease] });
};

const levelsAndLeasesAreFollowed = async (browser, demo) => {
  const context = await browser.newContext();
  const { page, troubles } = await open(context, demo.url);
  await signIn(page, demo);
  await page.goto(`${demo.url}/limits`);
  await lend(demo, "gw-west");
  const leases = page.getByRole("table", { name: "Leases" });
  await leases.getByText("gw-west").waitFor();
  // What a person has sorted and focused stays so while rows come.
  const heading = leases.getByRole("button", { name: "Gateway" });
  await heading.click();
  await heading.click();
  await lend(demo, "gw-east");
  await leases.getByText("gw-east").waitFor();
  const gateways = await leases.locator("tbody tr td:nth-child(3)").allTextContents();
  assert.deepEqual(gateways, ["gw-west", "gw-east"]);
  assert.equal(await leases.locator("th[aria-sort=descending]").textContent(), "Gateway");
  assert.ok(await heading.evaluate((button) => button === document.activeElement));
  assert.deepEqual(await findings(page), [], "limits");
  assert.deepEqual(troubles, []);
  await context.close();
};

const figuresThatStandStillSaySo = async (browser, demo) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await signIn(page, demo);
  await page.route("**/ui/live", (route) => route.abort());
  await page.goto(`${demo.url}/overview`);
  const told = page.getByText("Live figures stand still since");
  await told.waitFor();
  await page.unroute("**/ui/live");
  await told.waitFor({ state: "detached", timeout: 20_000 });
  await context.close();
};

const figuresThatAreRefusedSayWhy = async (browser, demo) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await signIn(page, demo);
  await page.route("**/ui/live", (route) => route.fulfill({ status: 503, body: "busy" }));
  await page.goto(`${demo.url}/overview`);
  const told = page.getByText("too many pages open");
  await told.waitFor();
  await page.unroute("**/ui/live");
  await told.waitFor({ state: "detached", timeout: 20_000 });
  await context.close();
};

/** A person who is signed in and follows a link in a message; one who is not comes to the page after signing in. */
const aDeepLinkOfAnotherSiteFindsThePerson = async (browser, demo) => {
  const wanted = `${demo.url}/tenants/globex?by=feature`;
  const message = createServer((_, answer) =>
    answer.setHeader("content-type", "text/html").end(`<!DOCTYPE html><title>Chat</title><a href="${wanted}">globex</a>`),
  );
  await new Promise((done) => message.listen(0, "127.0.0.1", done));
  const context = await browser.newContext();
  const page = await context.newPage();
  const follow = async () => {
    await page.goto(`http://localhost:${message.address().port}/`);
    await page.getByText("globex").click();
  };
  await follow();
  await page.getByLabel("Token").fill(demo.token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(wanted);
  await follow();
  await page.waitForURL(wanted);
  assert.ok(await page.getByRole("heading", { level: 1, name: "globex" }).isVisible());
  await context.close();
  message.close();
};

const aRefusedFormKeepsWhatWasTyped = async (browser, demo) => {
  const context = await browser.newContext({ viewport: { width: 360, height: 740 } });
  const page = await context.newPage();
  await signIn(page, demo);
  await look(page, `${demo.url}/budgets?tenant=acme`);
  await page.getByRole("link", { name: /^daily: acme$/ }).first().click();
  await page.waitForURL("**/ui/budgets/one?**");
  const raise = page.locator("form[action='/ui/budgets/raise']");
  const nextWeek = new Date(Date.now() + 7 * 24 * 3_600_000).toISOString().slice(0, 16);
  await raise.locator("input[name=amount]").fill("many");
  await raise.getByLabel("Until (UTC)").fill(nextWeek);
  await raise.getByLabel("Reason").fill("a launch");
  await raise.getByRole("button").click();
  await page.getByText("at most 12 places").waitFor();
  assert.deepEqual(await findings(page), [], "a refused form");
  assert.equal(await raise.getByLabel("Reason").inputValue(), "a launch");
  assert.equal(await raise.getByLabel("Until (UTC)").inputValue(), nextWeek);
  await raise.locator("input[name=amount]").fill("1000000");
  // A form whose answer is stopped works again.
  const stopped = page.waitForEvent("requestfailed");
  await page.route("**/ui/budgets/raise", (route) => route.abort("aborted"));
  await page.evaluate(() => document.querySelector("form[action='/ui/budgets/raise'] button").click());
  await stopped;
  await page.keyboard.press("Escape");
  await page.unroute("**/ui/budgets/raise");
  await raise.getByRole("button").click();
  await page.waitForURL("**done=raised");
  await page.getByRole("button", { name: /^Use the usual amount/ }).click();
  await page.waitForURL("**done=resumed");
  await context.close();
};

/** Amounts that are cut show themselves whole by the keyboard, and rows name themselves to those who do not see them. */
const amountsAreExactWithoutAMouse = async (browser, demo) => {
  const context = await browser.newContext({ viewport: { width: 360, height: 740 } });
  const { page } = await open(context, demo.url);
  await signIn(page, demo);
  await look(page, `${demo.url}/money?by=model`);
  const cut = page.locator("details.exact").first();
  const summary = cut.locator("summary");
  const exact = await summary.getAttribute("title");
  assert.ok((await summary.textContent()).includes("…"));
  await summary.focus();
  await page.keyboard.press("Enter");
  assert.ok(await cut.evaluate((one) => one.open));
  assert.ok((await cut.textContent()).endsWith(exact), exact);
  const first = page.getByRole("table", { name: "This month" }).locator("tbody td").first();
  const region = page.locator(".wide").last();
  await region.evaluate((one) => one.scrollTo(one.scrollWidth, 0));
  const { x } = await first.boundingBox();
  assert.ok(x >= 0 && x < 100, `the row's name stays in sight: ${x}`);
  await context.close();
};

const timesAreInTheViewersZone = async (browser, demo) => {
  const context = await browser.newContext({ timezoneId: "Asia/Tokyo", locale: "en-GB" });
  const { page } = await open(context, demo.url);
  await signIn(page, demo);
  const time = page.locator("footer time");
  const shown = await time.textContent();
  const utc = new Date(await time.getAttribute("datetime"));
  const tokyo = new Intl.DateTimeFormat("en-GB", { timeZone: "Asia/Tokyo", timeStyle: "medium" }).format(utc);
  assert.ok(shown.includes(tokyo) && shown.includes("UTC"), shown);
  await context.close();
};

const tablesSortAndFormsWorkByKeyboard = async (browser, demo) => {
  const context = await browser.newContext();
  const { page } = await open(context, demo.url);
  await signIn(page, demo);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await look(page, `${demo.url}/money?by=model`);
  const table = page.getByRole("table", { name: "This month" });
  await table.getByRole("button", { name: "Requests" }).focus();
  await page.keyboard.press("Enter");
  assert.equal(await table.locator("th[aria-sort=ascending]").textContent(), "Requests");
  await page.goto(`${demo.url}/alerts`);
  const nextWeek = new Date(Date.now() + 7 * 24 * 3_600_000).toISOString().slice(0, 16);
  await page.locator('input[name="rule"]').fill("margin-*");
  await page.getByLabel("Until (UTC)").fill(nextWeek);
  await page.getByLabel("Reason or remark").fill("maintenance <b>tonight</b>");
  await page.getByRole("button", { name: "Silence" }).press("Enter");
  await page.waitForURL("**/ui/alerts?done=silenced");
  assert.ok(await page.getByText("maintenance <b>tonight</b>").isVisible());
  await context.close();
};

const aTokenIsMadeShownOnceAndSignsIn = async (browser, demo) => {
  const context = await browser.newContext();
  const { page } = await open(context, demo.url);
  await signIn(page, demo);
  await page.goto(`${demo.url}/tokens`);
  await page.locator('input[type="text"][name="name"]').fill("tenant page");
  await page.getByLabel("Opens").fill("tenant:globex");
  // A person who clicks twice while the answer is on its way sees the one token that is made.
  await page.route("**/ui/tokens", async (route) => {
    await new Promise((done) => setTimeout(done, 300));
    await route.continue();
  });
  await page.getByRole("button", { name: "Make the token" }).dblclick();
  const token = await page.locator("#secret").textContent();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/ui/own");
  assert.ok(await page.getByRole("heading", { name: "Usage of globex" }).isVisible());
  assert.ok(!(await page.content()).includes("acme"));
  for (const { name, colorScheme, viewport } of VIEWS) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    assert.deepEqual(await findings(page), [], `own, ${name}`);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wider <= 0, `own, ${name}: ${wider} pixels too wide`);
    if (pictures) await page.screenshot({ path: join(pictures, `own-${name}.png`), fullPage: true });
  }
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name: "Download as CSV" }).first().click(),
  ]);
  assert.match(download.suggestedFilename(), /^units-globex-\d{4}-\d\d-\d\d\.csv$/);
  await context.close();
};

/** A page of another site leads to a tenant's page: browsers keep the cookie although the way began elsewhere. */
const aLinkOfAnotherSiteSignsIn = async (browser, demo) => {
  const product = createServer((_, answer) =>
    answer.setHeader("content-type", "text/html").end(`<!DOCTYPE html><title>Product</title><a href="${demo.link}">Your usage</a>`),
  );
  await new Promise((done) => product.listen(0, "127.0.0.1", done));
  const context = await browser.newContext();
  const page = await context.newPage();
  // Another host, so another site.
  await page.goto(`http://localhost:${product.address().port}/`);
  await page.getByText("Your usage").click();
  await page.waitForURL("**/ui/own");
  assert.ok(await page.getByRole("heading", { name: "Usage of globex" }).isVisible());
  await page.goto(demo.link);
  assert.ok(await page.getByText("has been used").isVisible(), "it opens once");
  await context.close();
  product.close();
};

const pagesWorkWithoutScript = async (browser, demo) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const { page } = await open(context, demo.url);
  await signIn(page, demo);
  await page.goto(`${demo.url}/tenants/globex`);
  assert.ok(await page.getByText("gpt-4o").first().isVisible());
  await context.close();
};

const stack = await startDemo();
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  await sendTraffic(stack);
  await new Promise((done) => setTimeout(done, 3_000));
  await run(stack.weir, "report", "--as-of", "now+2h");
  const checks = [
    lookAtPages, firstLoadIsSmall, figuresAreLive, figuresThatStandStillSaySo, figuresThatAreRefusedSayWhy, levelsAndLeasesAreFollowed, timesAreInTheViewersZone, tablesSortAndFormsWorkByKeyboard,
    aDeepLinkOfAnotherSiteFindsThePerson, aRefusedFormKeepsWhatWasTyped, amountsAreExactWithoutAMouse, aTokenIsMadeShownOnceAndSignsIn,
    aLinkOfAnotherSiteSignsIn, pagesWorkWithoutScript,
  ];
  for (const check of checks) {
    await check(browser, stack);
    console.log(`ok ${check.name}`);
  }
} finally {
  await browser.close();
  stack.child.removeAllListeners("exit");
  stack.child.kill("SIGINT");
}
