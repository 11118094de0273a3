// Fails if a module imports anything but proxy-wasm's functions and the parts of WASI that both gateways have (randomness
// and environment variables): such a module loads here, but a gateway refuses it, or it traps there.
import { readFileSync } from "node:fs";

const allowed = ({ module, name }) =>
  (module === "env" && name.startsWith("proxy_")) ||
  (module === "wasi_snapshot_preview1" && ["random_get", "environ_get", "environ_sizes_get"].includes(name));

const file = process.argv[2];
const imports = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(file)));
const foreign = imports.filter((entry) => !allowed(entry));
for (const { module, name, kind } of foreign) {
  console.error(`${file}: imports the ${kind} ${module}.${name}, which not every gateway has`);
}
process.exit(foreign.length === 0 ? 0 : 1);
