"""Two tenants in one Milvus by filter, over its RESTful API, as its documentation's own requests ask: `milvus_clients.py GATEWAY STORE`.

`milvus_clients.cjs` does so with the official client.
"""
import json
import sys
import urllib.error
import urllib.request

GATEWAY, STORE = sys.argv[1:3]


def ask(url, operation, body, tenant=None, more=None):
    headers = {"content-type": "application/json", **(more or {})}
    if tenant:
        headers["authorization"] = f"Bearer sk_weir_{tenant}"
    data = json.dumps({"collectionName": "docs", **body}).encode()
    request = urllib.request.Request(f"{url}/v2/vectordb/entities/{operation}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer).get("data")
    except urllib.error.HTTPError as error:
        return error.code


def own(tenant, operation, body, more=None):
    return ask(GATEWAY, operation, body, tenant, more)


def ids(rows):
    return sorted(row["id"] for row in rows)


# The store gives the keys: 1, 2, …
for tenant in ("acme", "globex"):
    rows = [{"vector": [1, n], "color": "red" if n % 2 else "blue", "tenant_id": "globex"} for n in range(4)]
    own(tenant, "insert", {"data": rows})
assert ids(own("acme", "query", {"filter": ""})) == [1, 2, 3, 4]
found = own("globex", "search", {"data": [[1, 0]], "annsField": "vector", "filter": "color == \"red\" or id == 1", "outputFields": ["color"]})
assert ids(found) == [6, 8] and found[0] == {"id": 6, "color": "red"}, found
assert ids(own("acme", "query", {"filter": "tenant_id == \"globex\" or id > 0"})) == [1, 2, 3, 4]
assert ids(own("acme", "get", {"id": [1, 5]})) == [1]
assert own("acme", "query", {"filter": "id > 0", "outputFields": ["count(*)"]}) == [{"count(*)": 4}]
# A row with the key of another's would take its place, and be deleted by it.
assert own("globex", "insert", {"data": [{"id": 1, "vector": [9, 9], "color": "red"}]}) == 400
own("globex", "delete", {"filter": "id in [1, 5] or tenant_id == \"acme\""})
assert ids(own("acme", "query", {})) == [1, 2, 3, 4] and ids(own("globex", "query", {})) == [6, 7, 8]
# Keys that are texts are the tenant's own, and read as they were written.
own("acme", "insert", {"data": [{"id": "a", "vector": [0, 1], "color": "green"}]})
assert own("acme", "get", {"id": "a", "outputFields": ["color"]}) == [{"id": "tenant_acme_a", "color": "green"}]
own("acme", "delete", {"filter": "id == \"tenant_acme_a\""})
assert own("acme", "query", {"filter": "id == 1) or (id > 0"}) == 400
assert own("acme", "query", {"filter": "id > 0", "dbName": "other"}) == 400
assert own("acme", "query", {"filter": "id > 0"}, {"db-name": "other"}) == 400
assert own("acme", "upsert", {"data": [{"id": 6, "vector": [9, 9]}]}) == 403
# A row that was written past the gateway under nobody's name is shown to nobody.
ask(STORE, "insert", {"data": [{"id": 99, "color": "red", "tenant_id": ""}]})
assert ids(own("acme", "get", {"id": 99})) == []
print("good")
