// Counts the tokens of the texts under filter/llm-usage/tests/fixtures/estimate with OpenAI's current vocabulary (o200k_base) and
// the one before it (cl100k_base), and writes counts.json beside them: `weir-soak estimate` compares with these numbers.
// Run by `make token-counts`; the argument is the folder with node_modules.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2], "index.js"));
const vocabularies = {
  o200k_base: require("gpt-tokenizer/encoding/o200k_base"),
  cl100k_base: require("gpt-tokenizer/encoding/cl100k_base"),
};
const folder = "filter/llm-usage/tests/fixtures/estimate";
const counts = {};
for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt")).sort()) {
  const text = readFileSync(`${folder}/${file}`, "utf8");
  const count = ([name, vocabulary]) => [name, vocabulary.encode(text).length];
  counts[file.replace(".txt", "")] = Object.fromEntries(Object.entries(vocabularies).map(count));
}
writeFileSync(`${folder}/counts.json`, `${JSON.stringify(counts, null, 2)}\n`);
console.log(`${folder}/counts.json: ${Object.keys(counts).length} texts`);
