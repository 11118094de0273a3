"""A door before a broker of Kafka's protocol: TLS, and one user who proves a password by SASL (PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512).

The broker of the tests knows neither. Whoever has come in speaks with the broker itself.
Requests and answers: https://kafka.apache.org/protocol (SaslHandshake 1, SaslAuthenticate 0 and 1); SCRAM: RFC 5802, RFC 7677.

Arguments: port of its own, port of the broker, certificate, key, user, password. Prints each sign-in: mechanism and outcome.
"""
import asyncio
import base64
import hashlib
import hmac
import os
import ssl
import struct
import sys

SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
SCRAM = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
ITERATIONS = 4096
UNSUPPORTED_MECHANISM, AUTHENTICATION_FAILED = 33, 58
own_port, broker_port, certificate, key, user, password = sys.argv[1:]


async def read_frame(reader):
    size = struct.unpack(">i", await reader.readexactly(4))[0]
    return await reader.readexactly(size)


def write_frame(writer, body):
    writer.write(struct.pack(">i", len(body)) + body)


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


class Scram:
    """The server's side of one SCRAM exchange: two messages of the client, each answered."""

    def __init__(self, name):
        self.digest, self.first = SCRAM[name], None

    def hmac(self, of, message):
        return hmac.digest(of, message, self.digest)

    def answer(self, message):
        if self.first is None:
            bare = message.decode().split(",", 2)[2]
            fields = dict(part.split("=", 1) for part in bare.split(","))
            self.name, self.nonce = fields["n"], fields["r"] + base64.b64encode(os.urandom(18)).decode()
            self.salt = os.urandom(16)
            self.challenge = f"r={self.nonce},s={base64.b64encode(self.salt).decode()},i={ITERATIONS}"
            self.first = bare
            return self.challenge.encode(), False
        without_proof, proof = message.decode().rsplit(",p=", 1)
        fields = dict(part.split("=", 1) for part in without_proof.split(","))
        salted = hashlib.pbkdf2_hmac(self.digest, password.encode(), self.salt, ITERATIONS)
        signed = ",".join([self.first, self.challenge, without_proof]).encode()
        client_key = self.hmac(salted, b"Client Key")
        signature = self.hmac(hashlib.new(self.digest, client_key).digest(), signed)
        wanted = bytes(a ^ b for a, b in zip(client_key, signature))
        if self.name != user or fields["r"] != self.nonce or not hmac.compare_digest(wanted, base64.b64decode(proof)):
            return None, False
        verifier = self.hmac(self.hmac(salted, b"Server Key"), signed)
        return b"v=" + base64.b64encode(verifier), True


class Plain:
    """PLAIN: user and password in one message (RFC 4616)."""

    def answer(self, message):
        return (b"", True) if message.split(b"\0")[1:] == [user.encode(), password.encode()] else (None, False)


async def sign_in(reader, writer, broker):
    """Answers until the client has proved itself; false if it has not."""
    exchange, name = None, None
    while True:
        frame = await read_frame(reader)
        api, version, correlation, length = struct.unpack(">hhih", frame[:10])
        body, head = frame[10 + max(length, 0):], struct.pack(">i", correlation)
        if api == API_VERSIONS:
            write_frame(broker[1], frame)
            write_frame(writer, await read_frame(broker[0]))
        elif api == SASL_HANDSHAKE and version == 1:
            name = body[2:].decode()
            exchange = Plain() if name == "PLAIN" else Scram(name) if name in SCRAM else None
            error = 0 if exchange else UNSUPPORTED_MECHANISM
            known = ["PLAIN", *SCRAM]
            write_frame(writer, head + struct.pack(">hi", error, len(known)) + b"".join(map(text, known)))
        elif api == SASL_AUTHENTICATE and version in (0, 1) and exchange:
            answer, is_in = exchange.answer(body[4:])
            lifetime = struct.pack(">q", 0) if version == 1 else b""
            if answer is None:
                print(name, "refused", flush=True)
                failed = struct.pack(">h", AUTHENTICATION_FAILED) + text("wrong user or password") + struct.pack(">i", 0)
                write_frame(writer, head + failed + lifetime)
                return False
            write_frame(writer, head + struct.pack(">hhi", 0, -1, len(answer)) + answer + lifetime)
            if is_in:
                print(name, "in", flush=True)
                return True
        else:
            print("unknown request", api, version, flush=True)
            return False
        await writer.drain()


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def serve(reader, writer):
    broker = await asyncio.open_connection("127.0.0.1", int(broker_port))
    try:
        if await sign_in(reader, writer, broker):
            await asyncio.gather(copy(reader, broker[1]), copy(broker[0], writer))
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
        broker[1].close()


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", int(own_port), ssl=context)
    async with server:
        await server.serve_forever()


asyncio.run(main())
