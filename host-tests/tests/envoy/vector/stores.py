"""Stand-ins for Pinecone, Weaviate and Milvus that keep records and evaluate filters for real: `stores.py NAME PORT`."""
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NOT_FOUND = (404, {"code": 404, "message": "not found"})


class Pinecone:
    """Vectors by namespace and id."""

    def __init__(self):
        self.spaces = {}

    def matches(self, record, wanted):
        metadata = record.get("metadata") or {}
        for name, of in (wanted or {}).items():
            if name in ("$or", "$and"):
                found = [self.matches(record, part) for part in of]
                if not (any(found) if name == "$or" else all(found)):
                    return False
            elif metadata.get(name) != (of.get("$eq") if isinstance(of, dict) else of):
                return False
        return True

    def answer(self, method, path, query, body):
        if method == "GET":
            body = {"namespace": query.get("namespace", [""])[0], "ids": query.get("ids", [])}
        space = self.spaces.setdefault(body.get("namespace", ""), {})
        told = {"namespace": body.get("namespace", "")}
        if (method, path) == ("POST", "/vectors/upsert"):
            space.update({vector["id"]: vector for vector in body["vectors"]})
            return 200, {"upsertedCount": len(body["vectors"])}
        if (method, path) == ("POST", "/query"):
            found = [record for record in space.values() if self.matches(record, body.get("filter"))]
            shown = {"id": True, "metadata": body.get("includeMetadata"), "values": body.get("includeValues")}
            told["matches"] = [{**{k: v for k, v in record.items() if shown.get(k)}, "score": 1.0} for record in found]
            return 200, told
        if (method, path) == ("GET", "/vectors/fetch"):
            told["vectors"] = {record: space[record] for record in body["ids"] if record in space}
            return 200, told
        if (method, path) == ("GET", "/vectors/list"):
            told["vectors"] = [{"id": record} for record in space]
            return 200, told
        if (method, path) == ("POST", "/vectors/delete"):
            gone = list(space) if body.get("deleteAll") else body.get("ids", [])
            for record in gone:
                space.pop(record, None)
            return 200, {}
        if (method, path) == ("GET", "/namespaces"):
            return 200, {"namespaces": [{"name": name, "record_count": len(of)} for name, of in self.spaces.items()]}
        return NOT_FOUND


class Weaviate:
    """Objects by tenant, class and id, as a class with multi-tenancy keeps them."""

    def __init__(self):
        self.objects = {}

    def put(self, entry):
        self.objects[(entry["tenant"], entry["class"], entry["id"])] = entry
        return entry

    def answer(self, method, path, query, body):
        tenant = query.get("tenant", [""])[0]
        if path == "/v1/meta":
            return 200, {"version": "1.30.0"}
        if path.startswith("/v1/.well-known"):
            return (200, {}) if not path.endswith("configuration") else NOT_FOUND
        if (method, path) == ("POST", "/v1/objects"):
            return 200, self.put(body)
        if (method, path) == ("POST", "/v1/batch/objects"):
            return 200, [{**self.put(entry), "result": {"status": "SUCCESS"}} for entry in body["objects"]]
        if (method, path) == ("GET", "/v1/objects"):
            wanted = query.get("class", [None])[0]
            return 200, {"objects": [entry for (of, kind, _), entry in self.objects.items()
                                     if of == tenant and wanted in (None, kind)]}
        one = re.fullmatch(r"/v1/objects/([^/]+)/([^/]+)", path)
        if not one:
            return NOT_FOUND
        key = ((body or {}).get("tenant", tenant), *one.groups())
        if key not in self.objects:
            return NOT_FOUND
        if method == "GET":
            return 200, self.objects[key]
        if method in ("PUT", "PATCH"):
            return 200, self.put({**self.objects[key], **body, "id": key[2]})
        if method == "DELETE":
            del self.objects[key]
            return 204, None
        return NOT_FOUND


class Milvus:
    """Rows of collections by their primary key, which it gives where a row has none, found by boolean expressions."""

    def __init__(self):
        self.rows = {}

    def finds(self, expression, row):
        python = re.sub(r"\b(tenant_id|color|id)\b", r"row['\1']", expression)
        return bool(eval(python, {"__builtins__": {}}, {"row": row}))  # The tests' own expressions.

    def answer(self, method, path, _query, body):
        rows = self.rows.setdefault(body.get("collectionName"), {})
        operation = path.removeprefix("/v2/vectordb/entities/")
        shown = ["id", *body.get("outputFields", [])]
        if operation == "insert":
            data = body["data"] if isinstance(body["data"], list) else [body["data"]]
            for row in data:
                row.setdefault("id", len(rows) + 1)
                rows[row["id"]] = row
            return 200, {"code": 0, "data": {"insertCount": len(data)}}
        if operation in ("query", "search"):
            found = [row for row in rows.values() if self.finds(body["filter"], row)]
        elif operation == "get":
            ids = body["id"] if isinstance(body["id"], list) else [body["id"]]
            found = [row for row in rows.values() if row["id"] in ids]
        elif operation == "delete":
            for key in [key for key, row in rows.items() if self.finds(body["filter"], row)]:
                del rows[key]
            return 200, {"code": 0, "data": {}}
        else:
            return 200, {"code": 404, "message": "not found"}
        if shown[1:] == ["count(*)"]:
            return 200, {"code": 0, "data": [{"count(*)": len(found)}]}
        return 200, {"code": 0, "data": [{name: row[name] for name in shown if name in row} for row in found]}


STORE = {"pinecone": Pinecone, "weaviate": Weaviate, "milvus": Milvus}[sys.argv[1]]()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        parts = urlsplit(self.path)
        status, told = STORE.answer(self.command, parts.path, parse_qs(parts.query), body)
        text = b"" if told is None else json.dumps(told).encode()
        self.send_response(status)
        if told is not None:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = answer

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
