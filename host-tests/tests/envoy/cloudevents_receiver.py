"""A receiver of CloudEvents that knows nothing of weir: `cloudevents_receiver.py`, on the CloudEvents project's own SDK.

It prints the port that it listens on, then one line of JSON for each event: what the SDK's types say of it. A batch is a
JSON array of events in the JSON format (CloudEvents 1.0, HTTP protocol binding, section 3.3).
"""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.v1.event import CloudEvent


SPEAKING = threading.Lock()


def say(line):
    with SPEAKING:
        print(json.dumps(line), flush=True)


def parse(event):
    # One event of a batch is what a structured message of its own would hold.
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())
    parsed = from_structured_event(message)
    assert isinstance(parsed, CloudEvent), type(parsed)
    return parsed


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.headers["content-type"] == "application/cloudevents-batch+json", self.headers["content-type"]
        events = [parse(event) for event in json.loads(body)]
        for event in events:
            say({
                "type": event.get_type(), "id": event.get_id(), "source": event.get_source(),
                "subject": event.get_subject(), "time": event.get_time().isoformat(),
                "content_type": event.get_datacontenttype(), "specversion": event.get_specversion(),
                "sequence": event.get_extension("sequence"), "data": event.get_data(),
            })
        # As any receiver would: no body, and no word about single events.
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


# Each worker of the gateway keeps a connection of its own open.
server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
try:
    server.serve_forever()
except Exception as error:
    print(error, file=sys.stderr)
    raise
