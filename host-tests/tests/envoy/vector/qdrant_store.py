"""Qdrant's REST API over the local mode of its own client, which evaluates filters for real: `qdrant_store.py PORT`."""
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from qdrant_client.http import models
from qdrant_client.local.qdrant_local import QdrantLocal

STORE = QdrantLocal(":memory:")
LOCK = Lock()


def selector(body):
    """The points that a change is for: by a filter, since the gateway leaves no ids."""
    assert "points" not in body, "ids reach the store as a filter"
    return models.FilterSelector(filter=models.Filter(**body["filter"]))


def plain(value):
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def query(name, body):
    request = models.QueryRequest(**body)
    found = STORE.query_points(
        name, query=request.query, using=request.using, prefetch=request.prefetch, query_filter=request.filter,
        limit=request.limit or 10, offset=request.offset or 0, with_payload=request.with_payload or False,
        with_vectors=request.with_vector or False, score_threshold=request.score_threshold)
    return plain(found)


def upsert(name, body):
    update = models.Filter(**body["update_filter"]) if body.get("update_filter") else None
    if "batch" in body:
        points = models.Batch(**body["batch"])
    else:
        points = [models.PointStruct(**point) for point in body["points"]]
    STORE.upsert(name, points, update_filter=update)


def handle(method, path, body):
    """The result of a request; None where there is no such operation."""
    match = re.fullmatch(r"/collections/([^/]+)((?:/[^/]+)*)", path)
    if path == "/":
        return {"title": "qdrant", "version": "1.17.0"}
    if (method, path) == ("GET", "/collections"):
        return plain(STORE.get_collections())
    if not match:
        return None
    name, rest = match.groups()
    if rest == "/exists":
        return {"exists": STORE.collection_exists(name)}
    if (method, rest) == ("PUT", ""):
        return STORE.create_collection(name, vectors_config=models.VectorParams(**body["vectors"]))
    if (method, rest) == ("GET", ""):
        return plain(STORE.get_collection(name))
    if (method, rest) == ("DELETE", ""):
        return STORE.delete_collection(name)
    single = re.fullmatch(r"/points/(\d+)", rest)
    if method == "GET" and single:
        found = STORE.retrieve(name, [int(single.group(1))], with_payload=True, with_vectors=True)
        return plain(found[0]) if found else None
    done = {"operation_id": 0, "status": "completed"}
    if (method, rest) == ("POST", "/points/query"):
        return query(name, body)
    if (method, rest) == ("POST", "/points/query/batch"):
        return [query(name, search) for search in body["searches"]]
    if (method, rest) == ("POST", "/points/scroll"):
        points, offset = STORE.scroll(
            name, scroll_filter=models.Filter(**body["filter"]), limit=body.get("limit") or 10,
            offset=body.get("offset"), with_payload=body.get("with_payload", True))
        return {"points": [plain(point) for point in points], "next_page_offset": offset}
    if (method, rest) == ("POST", "/points/count"):
        return plain(STORE.count(name, count_filter=models.Filter(**body["filter"])))
    if (method, rest) == ("POST", "/points"):
        shown = body.get("with_payload", True)
        return [plain(point) for point in STORE.retrieve(name, body["ids"], with_payload=shown)]
    if (method, rest) == ("PUT", "/points"):
        upsert(name, body)
    elif (method, rest) == ("POST", "/points/delete"):
        STORE.delete(name, selector(body))
    elif (method, rest) == ("POST", "/points/payload"):
        STORE.set_payload(name, body["payload"], selector(body))
    elif (method, rest) == ("PUT", "/points/payload"):
        STORE.overwrite_payload(name, body["payload"], selector(body))
    elif (method, rest) == ("POST", "/points/payload/delete"):
        STORE.delete_payload(name, body["keys"], selector(body))
    else:
        return None
    return done


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        path = self.path.split("?")[0]
        try:
            with LOCK:
                result = handle(self.command, path, body)
            status = 200 if result is not None else 404
            told = result if path == "/" else {"result": result, "status": "ok", "time": 0.0}
        except ValueError as error:
            status, told = 400, {"status": {"error": str(error)}, "time": 0.0}
        text = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
