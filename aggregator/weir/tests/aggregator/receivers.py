"""Takes what alerts send, with libraries that know nothing of weir, and prints one JSON line for each.

    receivers.py mail      an SMTP server; prints its port, then every message
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


{"mail": mail, "verify": verify}[sys.argv[1]]()
