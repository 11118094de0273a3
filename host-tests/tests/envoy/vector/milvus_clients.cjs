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
  for (const [tenant, first] of [[acme, 1], [globex, 11]]) {
    const rows = [0, 1, 2, 3].map((n) => ({ id: first + n, vector: [1, n], color: n % 2 ? "red" : "blue", tenant_id: "globex" }));
    const inserted = await tenant.insert({ ...docs, data: rows });
    assert.strictEqual(inserted.data.insertCount, 4);
  }
  assert.deepStrictEqual(ids(await acme.query({ ...docs, filter: "" })), [1, 2, 3, 4]);
  const search = { ...docs, data: [[1, 0]], annsField: "vector", filter: 'color == "red" or id == 1', outputFields: ["color"] };
  const found = await globex.search(search);
  assert.deepStrictEqual(found.data, [{ id: 12, color: "red" }, { id: 14, color: "red" }]);
  assert.deepStrictEqual(ids(await acme.query({ ...docs, filter: 'tenant_id == "globex" or id > 0' })), [1, 2, 3, 4]);
  assert.deepStrictEqual(ids(await acme.get({ ...docs, id: [1, 11] })), [1]);
  // Milvus deletes every row that has the key of one that was found, whosever it is.
  await assert.rejects(globex.delete({ ...docs, filter: "id in [1, 11]" }), refused(403));
  assert.deepStrictEqual(ids(await acme.query({ ...docs, filter: "" })), [1, 2, 3, 4]);
  assert.deepStrictEqual(ids(await globex.query({ ...docs, filter: "" })), [11, 12, 13, 14]);
  await assert.rejects(acme.query({ ...docs, dbName: "other", filter: "" }), refused(400));
  await assert.rejects(acme.upsert({ ...docs, data: [{ id: 12, vector: [9, 9] }] }), refused(403));
  await assert.rejects(acme.listCollections(), refused(403));
  console.log("good");
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
