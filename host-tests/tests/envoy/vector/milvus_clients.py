"""Two tenants in one Milvus by filter, over its RESTful API, as its documentation's own requests ask: `milvus_clients.py GATEWAY STORE`.

`milvus_clients.cjs` does so with the official client.
"""
import json
import sys
import urllib.error
import urllib.request

GATEWAY, STORE = sys.argv[1:3]


def ask(url, operation, body, tenant=None):
    headers = {"content-type": "application/json"}
    if tenant:
        headers["authorization"] = f"Bearer sk_weir_{tenant}"
    data = json.dumps({"collectionName": "docs", **body}).encode()
    request = urllib.request.Request(f"{url}/v2/vectordb/entities/{operation}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer).get("data")
    except urllib.error.HTTPError as error:
        return error.code


def own(tenant, operation, body):
    return ask(GATEWAY, operation, body, tenant)


def ids(rows):
    return sorted(row["id"] for row in rows)


for tenant, first in (("acme", 1), ("globex", 11)):
    rows = [{"id": first + n, "vector": [1, n], "color": "red" if n % 2 else "blue", "tenant_id": "globex"} for n in range(4)]
    own(tenant, "insert", {"data": rows})
assert ids(own("acme", "query", {"filter": ""})) == [1, 2, 3, 4]
found = own("globex", "search", {"data": [[1, 0]], "annsField": "vector", "filter": "color == \"red\" or id == 1", "outputFields": ["color"]})
assert ids(found) == [12, 14] and found[0] == {"id": 12, "color": "red"}, found
assert ids(own("acme", "query", {"filter": "tenant_id == \"globex\" or id > 0"})) == [1, 2, 3, 4]
assert ids(own("acme", "get", {"id": [1, 11]})) == [1]
# Milvus deletes every row that has the key of one that was found, whosever it is.
assert own("globex", "delete", {"filter": "id in [1, 11] or tenant_id == \"acme\""}) == 403
assert ids(own("acme", "query", {})) == [1, 2, 3, 4] and ids(own("globex", "query", {})) == [11, 12, 13, 14]
assert own("acme", "query", {"filter": "id == 1) or (id > 0"}) == 400
assert own("acme", "query", {"filter": "id > 0", "dbName": "other"}) == 400
assert own("acme", "upsert", {"data": [{"id": 12, "vector": [9, 9]}]}) == 403
# A row that was written past the gateway under nobody's name is shown to nobody.
ask(STORE, "insert", {"data": [{"id": 99, "color": "red", "tenant_id": ""}]})
assert ids(own("acme", "get", {"id": 99})) == []
print("good")
