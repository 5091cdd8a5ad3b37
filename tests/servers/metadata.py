"""The metadata service of an EC2 instance, version 2 only, on loopback. Prints its port.

Usage: metadata.py SETTINGS

SETTINGS is a file with a JSON object, read at each request: `role`, the name of the instance's role, if it has one; `keys`,
what the service says of it; `status`, with which to refuse everything.
"""

import json
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROLES = "/latest/meta-data/iam/security-credentials/"
tokens = set()


class Metadata(BaseHTTPRequestHandler):
    def answer(self, status, text=""):
        self.send_response(status)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def settings(self):
        with open(sys.argv[1]) as file:
            return json.load(file)

    def do_PUT(self):
        status = self.settings().get("status")
        life = self.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if status or "x-forwarded-for" in self.headers:
            return self.answer(status or 403)
        if self.path != "/latest/api/token" or not life.isdecimal() or not 1 <= int(life) <= 21600:
            return self.answer(400)
        tokens.add(token := secrets.token_urlsafe())
        self.answer(200, token)

    def do_GET(self):
        settings = self.settings()
        if self.headers.get("x-aws-ec2-metadata-token") not in tokens:
            return self.answer(401)
        role = settings.get("role")
        if self.path == ROLES and role:
            return self.answer(200, role)
        if role and self.path == ROLES + role:
            return self.answer(200, json.dumps(settings["keys"]))
        self.answer(404)

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
print(server.server_port, flush=True)
server.serve_forever()
