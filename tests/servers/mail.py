"""A mail server (aiosmtpd) on loopback. Prints its port, then writes each message it takes as a line of JSON.

usage: mail.py LOG [--starttls CERT KEY | --tls CERT KEY] [--login USER PASSWORD] [--rules FILE]

The rules, read at each command: {"rcpt": {"bob@acme.example": "451 later"}, "data": "554 no",
"content": {"POISON": "554 5.7.1 no"}}. A text of "content" is looked for in the decoded parts; the answer "break" is none: the
connection is closed.
"""
import asyncio
import email
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def option(name, count):
    if name not in sys.argv:
        return None
    at = sys.argv.index(name)
    return sys.argv[at + 1 : at + 1 + count]


log = open(sys.argv[1], "a", buffering=1)
login = option("--login", 2)
rules_file = option("--rules", 1)
connections = 0


def rules():
    if not rules_file or not os.path.exists(rules_file[0]):
        return {}
    with open(rules_file[0]) as file:
        return json.load(file)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = rules().get("rcpt", {}).get(address)
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = rules().get("data")
        if answer:
            return answer
        content = rules().get("content", {})
        if content:
            parts = email.message_from_bytes(envelope.original_content).walk()
            text = b"".join(part.get_payload(decode=True) for part in parts if not part.is_multipart()).decode()
            for poison, answer in content.items():
                if poison in text and answer == "break":
                    server.transport.abort()
                    await asyncio.sleep(1)
                if poison in text:
                    return answer
        log.write(
            json.dumps(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "data": envelope.original_content.decode("utf-8", "surrogateescape"),
                    "tls": session.ssl is not None or bool(option("--tls", 2)),
                    "login": getattr(session.auth_data, "login", b"").decode() if session.auth_data else None,
                    "connection": server.number,
                    "hello": session.host_name,
                }
            )
            + "\n"
        )
        return "250 OK taken"


class Server(SMTP):
    def __init__(self, *args, **kwargs):
        global connections
        connections += 1
        self.number = connections
        super().__init__(*args, **kwargs)


class Known:
    def __init__(self, login, password):
        self.login, self.password = login, password


def authenticate(server, session, envelope, mechanism, data):
    good = login and data.login == login[0].encode() and data.password == login[1].encode()
    return AuthResult(success=good, handled=False, auth_data=data)


def context(pair):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*pair)
    return tls


async def main():
    starttls, tls = option("--starttls", 2), option("--tls", 2)
    more = {}
    if starttls:
        more.update(tls_context=context(starttls), require_starttls=True)
    if login:
        more.update(authenticator=authenticate, auth_required=True, auth_require_tls=bool(starttls))
    loop = asyncio.get_running_loop()
    factory = lambda: Server(Handler(), hostname="mail.test", loop=loop, **more)
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context(tls) if tls else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


import logging

logging.disable(logging.CRITICAL)
asyncio.run(main())
