// Two tenants in one Milvus by filter, with the HTTP client of its official SDK: `milvus_clients.cjs GATEWAY STORE`.
// Milvus's Python client speaks gRPC alone, which the gateway refuses; the one for Node speaks HTTP, too.
const assert = require("node:assert");
const { HttpClient } = require("@zilliz/milvus2-sdk-node");

const [GATEWAY] = process.argv.slice(2);
const client = (tenant) => new HttpClient({ endpoint: GATEWAY, token: `sk_weir_${tenant}` });
const ids = (found) => found.data.map((row) => row.id).sort((one, other) => one - other);
const refused = (status) => (error) => error.status === status;

async function main() {
  const [acme, globex] = [client("acme"), client("globex")];
  const docs = { collectionName: "docs" };
  // The store gives the keys: 1, 2, …
  for (const tenant of [acme, globex]) {
    const rows = [0, 1, 2, 3].map((n) => ({ vector: [1, n], color: n % 2 ? "red" : "blue", tenant_id: "globex" }));
    const inserted = await tenant.insert({ ...docs, data: rows });
    assert.strictEqual(inserted.data.insertCount, 4);
  }
  assert.deepStrictEqual(ids(await acme.query({ ...docs, filter: "" })), [1, 2, 3, 4]);
  const search = { ...docs, data: [[1, 0]], annsField: "vector", filter: 'color == "red" or id == 1', outputFields: ["color"] };
  const found = await globex.search(search);
  assert.deepStrictEqual(found.data, [{ id: 6, color: "red" }, { id: 8, color: "red" }]);
  assert.deepStrictEqual(ids(await acme.query({ ...docs, filter: 'tenant_id == "globex" or id > 0' })), [1, 2, 3, 4]);
  assert.deepStrictEqual(ids(await acme.get({ ...docs, id: [1, 5] })), [1]);
  const count = await acme.query({ ...docs, filter: "id > 0", outputFields: ["count(*)"] });
  assert.deepStrictEqual(count.data, [{ "count(*)": 4 }]);
  // A row with the key of another's would take its place, and be deleted by it.
  await assert.rejects(globex.insert({ ...docs, data: [{ id: 1, vector: [9, 9], color: "red" }] }), refused(400));
  await globex.delete({ ...docs, filter: "id in [1, 5]" });
  assert.deepStrictEqual(ids(await acme.query({ ...docs, filter: "" })), [1, 2, 3, 4]);
  assert.deepStrictEqual(ids(await globex.query({ ...docs, filter: "" })), [6, 7, 8]);
  await assert.rejects(acme.query({ ...docs, dbName: "other", filter: "" }), refused(400));
  await assert.rejects(acme.upsert({ ...docs, data: [{ id: 6, vector: [9, 9] }] }), refused(403));
  await assert.rejects(acme.listCollections(), refused(403));
  console.log("good");
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
