"""Reads a topic from its beginning, as a consumer that knows nothing of weir, and prints a line of JSON for each record.

Arguments: address, topic, number of records.
"""
import json
import sys

from confluent_kafka import Consumer

address, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer(
    {"bootstrap.servers": address, "group.id": "reader", "auto.offset.reset": "earliest", "enable.auto.commit": False}
)
consumer.subscribe([topic])
while count > 0:
    message = consumer.poll(30)
    if message is None:
        sys.exit("no more records within 30 seconds")
    if message.error():
        sys.exit(str(message.error()))
    headers = [(name, value.decode()) for name, value in message.headers() or []]
    record = {"key": message.key().decode(), "headers": headers, "value": message.value().decode()}
    print(json.dumps(record), flush=True)
    count -= 1
consumer.close()
