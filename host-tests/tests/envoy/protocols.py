"""Real gRPC and HTTP/2 peers: `protocols.py serve` prints its port; `protocols.py call HOST:PORT` calls through Envoy.

The service is made of generic handlers: bytes in, bytes out, so that no code generator is needed.
"""
import sys
import time
from concurrent import futures

import grpc
import httpx

KEY = ("authorization", "Bearer sk_weir_acme")
SERVICE = "weir.test.Echo"


def unary(request, context):
    seen = dict(context.invocation_metadata())
    if "authorization" in seen:
        context.abort(grpc.StatusCode.INTERNAL, "the tenant's credential reached the upstream")
    if not request:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "empty")
    context.set_trailing_metadata((("x-tenant-seen", seen.get("x-tenant-id", "nobody")),))
    return request[::-1]


def stream(requests, context):
    for request in requests:
        for part in range(3):
            yield request + str(part).encode()


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
    }),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"port {port}", flush=True)
    # Killed when the test is over.
    time.sleep(600)


def call(address):
    with grpc.insecure_channel(address) as channel:
        echo = channel.unary_unary(f"/{SERVICE}/Unary")
        answer, done = echo.with_call(b"abc", metadata=[KEY, ("x-tenant-id", "globex")], timeout=20)
        assert answer == b"cba", answer
        assert dict(done.trailing_metadata())["x-tenant-seen"] == "acme", done.trailing_metadata()
        both = channel.stream_stream(f"/{SERVICE}/Stream")
        answers = list(both(iter([b"a", b"b"]), metadata=[KEY], timeout=20))
        assert answers == [b"a0", b"a1", b"a2", b"b0", b"b1", b"b2"], answers
        try:
            echo(b"", metadata=[KEY], timeout=20)
            raise AssertionError("the service refuses an empty message")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        try:
            echo(b"abc", timeout=20)
            raise AssertionError("a call without a credential went through")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
    print("grpc: ok")


def http2(url):
    with httpx.Client(http1=False, http2=True, timeout=20) as client:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "How are you?"}]}
        answer = client.post(f"{url}/v1/chat/completions", json=body, headers=[KEY])
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2"), answer
        assert answer.json()["usage"]["total_tokens"] > 0, answer.text
    print("http2: ok")


if __name__ == "__main__":
    {"serve": lambda: serve(), "call": lambda: call(sys.argv[2]), "http2": lambda: http2(sys.argv[2])}[sys.argv[1]]()
