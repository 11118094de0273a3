// A real identity provider and people with browsers: `node openid.mjs FOLDER`, where FOLDER has the package. Prints the issuer and the
// address under which browsers see the dashboard; reads the port of the server behind it from standard input; tries to sign people in,
// and prints what they saw as JSON.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { connect, createServer as createProxy } from "node:net";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder] = process.argv.slice(2);
// The provider's advice for production is none of the answers.
console.info = console.warn = console.error;
const require = createRequire(`${folder}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));

const PEOPLE = {
  ada: { email: "ada@example.com", email_verified: true, groups: ["platform", "staff"] },
  bob: { email: "bob@example.com", email_verified: true, groups: ["staff"] },
  eve: { email: "eve@evil.example", email_verified: true, groups: [] },
  mallory: { email: "ada@example.com", email_verified: false, groups: ["platform"] },
  alan: { email: "alan@acme.example", email_verified: true, groups: ["acme"] },
};
let person = "ada";

const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
let port = 0;
const proxy = createProxy((client) => {
  const behind = connect(port, "127.0.0.1");
  client.pipe(behind).pipe(client);
  client.on("error", () => behind.destroy());
  behind.on("error", () => client.destroy());
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const weir = `http://127.0.0.1:${proxy.address().port}`;
console.log(issuer);
console.log(weir);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
port = Number((await lines.next()).value);

const provider = new Provider(issuer, {
  clients: [{
    client_id: "weir",
    client_secret: "a-secret-of-the-client-that-is-long",
    redirect_uris: [`${weir}/ui/openid/callback`],
  }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "email", "groups"],
  // Claims in the ID token itself, as most providers of companies give them.
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...PEOPLE[id] }) }),
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: "weir", accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid email groups");
    await grant.save();
    return grant;
  },
});
const answer = provider.callback();
server.on("request", async (request, response) => {
  if (!request.url.startsWith("/interaction/")) return answer(request, response);
  if (person === "nobody") {
    return provider.interactionFinished(request, response, { error: "access_denied", error_description: "not today" });
  }
  return provider.interactionFinished(request, response, { login: { accountId: person } });
});

/** A browser: keeps the cookies of each site. */
class Browser {
  jars = new Map();

  async get(address) {
    const { origin } = new URL(address);
    const jar = this.jars.get(origin) ?? new Map();
    this.jars.set(origin, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const shown = await fetch(address, { redirect: "manual", headers: { cookie } });
    for (const set of shown.headers.getSetCookie()) {
      const [, name, value] = set.match(/^([^=]+)=([^;]*)/);
      if (/max-age=0|expires=Thu, 01 Jan 1970/i.test(set)) jar.delete(name);
      else jar.set(name, value);
    }
    const where = shown.headers.get("location");
    return { status: shown.status, text: await shown.text(), next: where && new URL(where, address).href };
  }

  /** Follows redirects until there is a page, or the browser is to go to an address that `stop` names. */
  async go(address, stop = () => false) {
    let shown = { next: address };
    for (let hops = 0; shown.next && hops < 12; hops += 1) {
      if (stop(shown.next)) return shown;
      shown = await this.get(shown.next);
    }
    return shown;
  }
}

const begin = `${weir}/ui/openid`;
const isCallback = (address) => address.startsWith(`${weir}/ui/openid/callback`);
const brief = ({ status, text }) => ({ status, told: text.match(/role="alert">([^<]*)/)?.[1] });

/** Signs somebody in, and says what they see then. */
const signIn = async (who) => {
  person = who;
  const browser = new Browser();
  const back = await browser.go(begin);
  const home = await browser.go(`${weir}/ui`);
  const name = home.text.match(/<span>([^<]*) <span class="unit">\(([a-z]+)\)/);
  return { ...brief(back), moves: back.text.includes('http-equiv="refresh"'), who: name?.[1], role: name?.[2] };
};

const seen = {};
for (const who of [...Object.keys(PEOPLE), "nobody"]) seen[who] = await signIn(who);

person = "ada";
const victim = new Browser();
const stolen = await new Browser().go(begin, isCallback);
await victim.go(begin, isCallback);
// Somebody else's answer, planted in the victim's browser, signs nobody in.
seen.planted = brief(await victim.get(stolen.next));
seen.withoutCookie = brief(await new Browser().get(stolen.next));
const twice = new Browser();
const once = await twice.go(begin, isCallback);
const kept = new Map(twice.jars.get(new URL(weir).origin));
await twice.get(once.next);
twice.jars.set(new URL(weir).origin, kept);
seen.again = brief(await twice.get(once.next));
// A browser whose nonce or verifier is another one than that which the provider was told of.
for (const [part, what] of [[1, "nonce"], [2, "verifier"]]) {
  const browser = new Browser();
  const back = await browser.go(begin, isCallback);
  const jar = browser.jars.get(new URL(weir).origin);
  const parts = jar.get("weir_openid").split(".");
  parts[part] = parts[part].split("").reverse().join("");
  jar.set("weir_openid", parts.join("."));
  seen[what] = brief(await browser.get(back.next));
}
const honest = new Browser();
const back = await honest.go(begin, isCallback);
seen.otherIssuer = brief(await honest.get(`${back.next.replace(/iss=[^&]*/, "")}&iss=https%3A%2F%2Fevil.example`));
console.log(JSON.stringify(seen));
process.exit(0);
