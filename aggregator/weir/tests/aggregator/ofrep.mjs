// An application with OpenFeature's SDK reads weir's flags: `node ofrep.mjs FOLDER URL TOKEN`, where FOLDER has the packages. Prints
// what it reads as JSON.
import { createRequire } from "node:module";

const [folder, url, token] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { OpenFeature } = require("@openfeature/server-sdk");
const { OFREPProvider } = require("@openfeature/ofrep-provider");

const headers = [["Authorization", `Bearer ${token}`]];
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: url, headers }));
const client = OpenFeature.getClient();
const acme = { tenant: "acme", targetingKey: "ann" };

const details = async (read) => {
  const { value, reason, errorCode, variant } = await read;
  return { value, reason, errorCode, variant };
};

console.log(JSON.stringify({
  bool: await details(client.getBooleanDetails("use-claude", false, acme)),
  other: await details(client.getBooleanDetails("use-claude", true, { tenant: "globex", targetingKey: "bob" })),
  byTenantAlone: await client.getBooleanValue("use-claude", false, { targetingKey: "acme" }),
  string: await client.getStringValue("tone", "none", { ...acme, environment: "test" }),
  integer: await client.getNumberValue("retries", 0, acme),
  number: await client.getNumberValue("share", 0, acme),
  unknown: await details(client.getBooleanDetails("nobody", true, acme)),
  otherType: await details(client.getStringDetails("use-claude", "kept", acme)),
  noContext: await details(client.getBooleanDetails("use-claude", true, {})),
}));
await OpenFeature.close();
