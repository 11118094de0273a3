"""Two tenants in one Qdrant through the gateway, with its official client: `qdrant_clients.py GATEWAY STORE`.

GATEWAY guards the store by filter; STORE is the store itself, for what only its operator may do.
"""
import sys

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

GATEWAY, STORE = sys.argv[1:3]
OWN = models.FieldCondition(key="color", match=models.MatchValue(value="red"))


def client(tenant):
    headers = {"authorization": f"Bearer sk_weir_{tenant}"}
    return QdrantClient(url=GATEWAY, metadata=headers, check_compatibility=False, timeout=30)


def ids(points):
    return sorted(point.id for point in points)


def refused(call):
    try:
        call()
    except UnexpectedResponse as error:
        assert error.status_code in (400, 403), error
        return
    raise AssertionError("not refused")


operator = QdrantClient(url=STORE, check_compatibility=False)
operator.create_collection("docs", vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
acme, globex = client("acme"), client("globex")
for tenant, first in ((acme, 1), (globex, 11)):
    points = [models.PointStruct(id=first + n, vector=[1.0, n], payload={"color": "red" if n % 2 else "blue"})
              for n in range(6)]
    tenant.upsert("docs", points)

# Searches, pages, counts and fetches see one's own, shown as the client asks for it.
found = acme.query_points("docs", query=[1.0, 1.0], limit=100, with_payload=True)
assert ids(found.points) == [1, 2, 3, 4, 5, 6], found
assert all(point.payload["tenant_id"] == "acme" for point in found.points)
found = globex.query_points("docs", query=[1.0, 1.0], limit=100, query_filter=models.Filter(must=[OWN]), with_payload=False)
assert ids(found.points) == [12, 14, 16] and not any(point.payload for point in found.points), found
everybody = models.Filter(should=[OWN, models.FieldCondition(key="tenant_id", match=models.MatchValue(value="acme"))])
assert ids(globex.query_points("docs", query=[1.0, 0.0], limit=100, query_filter=everybody).points) == [12, 14, 16]
batch = [models.QueryRequest(query=[1.0, 0.0], limit=100, with_payload=["color"]) for _ in range(2)]
for answer in acme.query_batch_points("docs", batch):
    assert ids(answer.points) == [1, 2, 3, 4, 5, 6] and "tenant_id" not in answer.points[0].payload, answer
page, offset = acme.scroll("docs", limit=4)
rest, _ = acme.scroll("docs", limit=4, offset=offset)
assert ids(page + rest) == [1, 2, 3, 4, 5, 6]
assert globex.count("docs").count == 6
assert ids(acme.retrieve("docs", [1, 2, 11, 12])) == [1, 2]

# Changes reach one's own: another's id is neither overwritten, nor changed, nor deleted.
globex.upsert("docs", [models.PointStruct(id=1, vector=[9.0, 9.0], payload={"color": "stolen", "tenant_id": "acme"})])
globex.set_payload("docs", payload={"color": "stolen"}, points=[1, 11])
globex.delete("docs", points_selector=[2, 12])
globex.delete("docs", points_selector=models.FilterSelector(filter=models.Filter(must_not=[OWN])))
colors = {point.id: point.payload["color"] for point in acme.scroll("docs", limit=100)[0]}
assert colors == {1: "blue", 2: "red", 3: "blue", 4: "red", 5: "blue", 6: "red"}, colors
assert ids(globex.scroll("docs", limit=100)[0]) == [14, 16]

# What cannot be proven is refused: another's vector by its id, administration, taking the mark away.
refused(lambda: globex.query_points("docs", query=1, limit=1))
refused(lambda: globex.query_points("docs", query=[1.0, 0.0], lookup_from=models.LookupLocation(collection="x")))
refused(lambda: globex.get_collections())
refused(lambda: globex.delete_collection("docs"))
refused(lambda: globex.delete_payload("docs", keys=["tenant_id"], points=[14]))
refused(lambda: globex.clear_payload("docs", points_selector=[14]))
print("good")
