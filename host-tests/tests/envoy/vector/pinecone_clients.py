"""Two tenants in one Pinecone index, with its official client: `pinecone_clients.py GATEWAY STORE`."""
import sys

from pinecone import Pinecone

GATEWAY = sys.argv[1]


def index(tenant):
    return Pinecone(api_key=f"sk_weir_{tenant}").Index(host=GATEWAY)


def ids(found):
    return sorted(match["id"] for match in found["matches"])


def refused(call):
    try:
        call()
    except Exception as error:
        assert "403" in str(error) or "400" in str(error) or "not offered" in str(error), error
        return
    raise AssertionError("not refused")


acme, globex = index("acme"), index("globex")
for tenant, color in ((acme, "red"), (globex, "blue")):
    tenant.upsert(vectors=[{"id": "1", "values": [1.0, 0.0], "metadata": {"color": color}},
                           {"id": color, "values": [0.0, 1.0], "metadata": {"color": color}}], namespace="docs")
    tenant.upsert(vectors=[{"id": "plain", "values": [1.0, 1.0]}])
assert ids(acme.query(vector=[1.0, 0.0], top_k=10, namespace="docs", include_metadata=True)) == ["1", "red"]
assert ids(globex.query(vector=[1.0, 0.0], top_k=10, namespace="docs")) == ["1", "blue"]
assert ids(globex.query(vector=[1.0, 0.0], top_k=10, namespace="tenant_acme_docs")) == []
assert ids(acme.query(vector=[1.0, 0.0], top_k=10)) == ["plain"]
assert ids(acme.query(vector=[1.0, 0.0], top_k=10, namespace="docs", filter={"color": {"$eq": "blue"}})) == []
found = acme.fetch(ids=["1", "blue"], namespace="docs")
assert list(found.vectors) == ["1"] and found.namespace == "docs", found
globex.delete(ids=["1"], namespace="docs")
globex.delete(delete_all=True, namespace="docs")
assert ids(acme.query(vector=[1.0, 0.0], top_k=10, namespace="docs")) == ["1", "red"]
refused(lambda: acme.describe_index_stats())
print("good")
