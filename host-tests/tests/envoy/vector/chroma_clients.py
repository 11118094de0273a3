"""Two tenants in one real Chroma through the gateway, with its official client: `chroma_clients.py FILTERED NAMESPACED STORE`.

Two gateways guard the store, one by filter and one by namespace; STORE is the port of the store itself.
"""
import sys

import chromadb
from chromadb.config import Settings

FILTERED, NAMESPACED, STORE = (int(port) for port in sys.argv[1:4])


def client(port, key=None, **more):
    headers = {"authorization": f"Bearer sk_weir_{key}"} if key else {}
    settings = Settings(anonymized_telemetry=False)
    return chromadb.HttpClient(host="127.0.0.1", port=port, headers=headers, settings=settings, **more)


def refused(call):
    try:
        call()
    except Exception as error:  # The client has an error of its own for each status, and none that all share.
        assert "not offered" in str(error) or "unprovable" in str(error) or "403" in str(error), error
        return
    raise AssertionError("not refused")


def missing(call):
    try:
        call()
    except Exception as error:  # The store's own error, or the gateway's.
        assert "does not exist" in str(error) or "no such" in str(error), error
        return
    raise AssertionError("found")


def by_filter():
    operator = client(STORE)
    operator.create_collection("docs")
    acme, globex = (client(FILTERED, tenant).get_collection("docs") for tenant in ("acme", "globex"))
    acme.add(ids=["1", "2"], embeddings=[[0.0, 1.0], [1.0, 0.0]], documents=["a1", "a2"],
             metadatas=[{"color": "red"}, {"color": "blue"}])
    globex.add(ids=["1", "3"], embeddings=[[0.0, 1.0], [1.0, 1.0]], documents=["g1", "g3"],
               metadatas=[{"color": "red", "tenant_id": "acme"}, {"color": "blue"}])
    # Both have a record "1", and neither sees the other's.
    assert acme.get()["documents"] == ["a1", "a2"], acme.get()
    found = globex.query(query_embeddings=[[0.0, 1.0], [1.0, 1.0]], n_results=10)
    assert [sorted(ids) for ids in found["ids"]] == [["1", "3"], ["1", "3"]], found
    assert acme.get(where={"color": "red"})["ids"] == ["1"]
    tricky = {"$or": [{"color": "red"}, {"tenant_id": "acme"}, {"tenant_id": {"$ne": "globex"}}]}
    assert globex.get(where=tricky)["documents"] == ["g1"]
    assert globex.get(ids=["1", "2", "tenant_acme_2"])["documents"] == ["g1"]
    assert acme.get(ids=["1"], include=["embeddings"])["ids"] == ["1"]
    # Changes and deletions reach one's own alone.
    globex.upsert(ids=["2"], embeddings=[[9.0, 9.0]], documents=["stolen"], metadatas=[{"tenant_id": "acme"}])
    globex.delete(ids=["1"])
    globex.delete(where={"tenant_id": "acme"})
    assert acme.get()["documents"] == ["a1", "a2"], acme.get()
    assert sorted(globex.get()["documents"]) == ["g3", "stolen"]
    # A record that was written past the gateway is nobody's.
    operator.get_collection("docs").add(ids=["tenant_acme_x"], embeddings=[[0.0, 1.0]], documents=["forged"])
    assert acme.get()["ids"] == ["1", "2"]
    refused(acme.count)
    refused(lambda: client(FILTERED, "acme").create_collection("mine"))
    refused(lambda: client(FILTERED, "acme").delete_collection("docs"))


def by_namespace():
    operator = chromadb.AdminClient(Settings(
        chroma_api_impl="chromadb.api.fastapi.FastAPI", chroma_server_host="127.0.0.1", chroma_server_http_port=STORE,
        anonymized_telemetry=False))
    for tenant in ("acme", "globex"):
        operator.create_tenant(f"tenant_{tenant}_")
        operator.create_database("default_database", f"tenant_{tenant}_")
    acme, globex = client(NAMESPACED, "acme"), client(NAMESPACED, "globex")
    own = acme.get_or_create_collection("own")
    own.add(ids=["1"], embeddings=[[0.0, 1.0]], documents=["a1"])
    assert own.count() == 1 and acme.count_collections() == 1
    assert [(c.name, c.id) for c in acme.list_collections()] == [("own", own.id)]
    assert acme.get_collection("own").id == own.id
    assert acme.get_collection_by_id(own.id).name == "own"
    assert globex.list_collections() == []
    # The store finds a collection by its id, whosever it is. Ids are sealed, so neither the raw one nor acme's leads there.
    raw = client(STORE, tenant="tenant_acme_").get_collection("own").id
    assert raw != own.id
    theirs = globex.get_or_create_collection("theirs")
    empty = acme.get_or_create_collection("empty")
    raw_of_empty = client(STORE, tenant="tenant_acme_").get_collection("empty").id
    kept = theirs._model.id
    for foreign in (raw, own.id, raw_of_empty, empty.id):
        theirs._model.id = foreign
        for attack in (
            theirs.get, theirs.count, lambda: theirs.query(query_embeddings=[[0.0, 1.0]], n_results=5),
            lambda: theirs.add(ids=["x"], embeddings=[[1.0, 2.0, 3.0, 4.0, 5.0]]),
            lambda: theirs.upsert(ids=["1"], embeddings=[[9.0, 9.0]], documents=["stolen"]),
            lambda: theirs.delete(where={"tenant_id": {"$ne": "globex"}}),
            lambda: theirs.modify(name="mine"),
        ):
            missing(attack)
    theirs._model.id = kept
    assert own.get()["documents"] == ["a1"]
    empty.add(ids=["1"], embeddings=[[0.0, 1.0, 2.0]])
    empty.modify(name="full")
    assert sorted(c.name for c in acme.list_collections()) == ["full", "own"]
    theirs.add(ids=["1"], embeddings=[[0.0, 1.0]])
    assert theirs.count() == 1
    acme.delete_collection("own")


by_filter()
by_namespace()
print("good")
