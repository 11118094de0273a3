"""Two tenants in one Weaviate class, with its official client of the REST API: `weaviate_clients.py GATEWAY STORE`."""
import sys
import uuid

import weaviate

GATEWAY = sys.argv[1]
ONE, TWO = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def client(tenant):
    headers = {"authorization": f"Bearer sk_weir_{tenant}"}
    return weaviate.Client(GATEWAY, additional_headers=headers, startup_period=None)


def texts(found):
    return sorted(entry["properties"]["text"] for entry in found["objects"])


acme, globex = client("acme"), client("globex")
acme.data_object.create({"text": "a1"}, "Doc", uuid=ONE, vector=[1, 0], tenant="acme")
# What the client calls its tenant does not matter: it is the one that its key proves.
globex.data_object.create({"text": "g1"}, "Doc", uuid=ONE, vector=[1, 0], tenant="acme")
globex.data_object.create({"text": "g2"}, "Doc", uuid=TWO, vector=[1, 0], tenant="globex")
assert texts(acme.data_object.get(class_name="Doc", tenant="globex")) == ["a1"]
assert texts(globex.data_object.get(class_name="Doc", tenant="acme")) == ["g1", "g2"]
assert acme.data_object.get_by_id(ONE, class_name="Doc", tenant="globex")["properties"]["text"] == "a1"
assert acme.data_object.get_by_id(TWO, class_name="Doc", tenant="globex") is None
globex.data_object.delete(ONE, class_name="Doc", tenant="acme")
assert texts(acme.data_object.get(class_name="Doc", tenant="acme")) == ["a1"]
assert texts(globex.data_object.get(class_name="Doc", tenant="globex")) == ["g2"]
answer = acme.query.get("Doc", ["text"]).with_tenant("globex")
try:
    answer.do()
    raise AssertionError("GraphQL is not refused")
except weaviate.exceptions.UnexpectedStatusCodeException as error:
    assert error.status_code == 403, error
print("good")
