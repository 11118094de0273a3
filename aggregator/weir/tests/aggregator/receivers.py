"""Takes what alerts send, with libraries that know nothing of weir, and prints one JSON line for each.

    receivers.py mail      an SMTP server; prints its port, then every message
    receivers.py otlp      a collector of OpenTelemetry's metrics that refuses the first call; prints its port, then each call's points
    receivers.py verify    reads lines of {"secret", "headers", "body"}; prints whether the webhook's signature is good
"""

import email
import email.policy
import json
import sys


def say(value):
    print(json.dumps(value), flush=True)


def mail():
    import asyncio

    from aiosmtpd.smtp import SMTP

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            if "refuse" in envelope.rcpt_tos[0]:
                return "451 try again"
            say({
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "subject": message["subject"],
                "id": message["message-id"],
                "stop": message["list-unsubscribe"],
                "text": message.get_content(),
            })
            return "250 OK"

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(Handler(), enable_SMTPUTF8=True), "127.0.0.1", 0)
        say(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(serve())


def verify():
    from standardwebhooks import Webhook, WebhookVerificationError

    for line in sys.stdin:
        call = json.loads(line)
        try:
            Webhook(call["secret"]).verify(call["body"], call["headers"])
            say(True)
        except WebhookVerificationError:
            say(False)


def otlp():
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    class Collector(BaseHTTPRequestHandler):
        calls = 0

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            Collector.calls += 1
            self.send_response(503 if Collector.calls == 1 else 200)
            self.send_header("content-length", "0")
            self.end_headers()
            request = ExportMetricsServiceRequest.FromString(body)
            (resource,) = request.resource_metrics
            points = [
                {
                    "name": metric.name,
                    "unit": metric.unit,
                    "of": {one.key: one.value.string_value for one in point.attributes},
                    "count": point.count,
                    "sum": point.sum,
                    "bounds": len(point.explicit_bounds),
                }
                for scope in resource.scope_metrics
                for metric in scope.metrics
                for point in metric.histogram.data_points
            ]
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            say({"path": self.path, "key": self.headers["x-key"], "service": named["service.name"], "points": points})

    server = HTTPServer(("127.0.0.1", 0), Collector)
    say(server.server_port)
    server.serve_forever()


{"mail": mail, "otlp": otlp, "verify": verify}[sys.argv[1]]()
