"""An HTTP server on loopback for Slack and webhooks. Prints its port, then writes each request as a line of JSON.

usage: web.py LOG RULES [CERT KEY]

The rules, read at each request, by path: {"/hook": {"status": 503, "headers": {"Retry-After": "30"}, "body": "…",
"fault": "hang" | "close" | "drip" | "half", "if": "POISON", "slow": SECONDS}}. Without a rule, or if the body has not the text of
"if": 200, and {"ok": true}.
"""
import json
import ssl
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

log = open(sys.argv[1], "a", buffering=1)
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length).decode(errors="replace")
        if len(body.encode()) < length:  # the sender has gone in the middle
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        with lock:
            log.write(json.dumps({"path": self.path, "headers": headers, "body": body}) + "\n")
        rule = {}
        if os.path.exists(sys.argv[2]):
            with open(sys.argv[2]) as file:
                rule = json.load(file).get(self.path, {})
        time.sleep(rule.get("slow", 0))
        if rule.get("if", "") not in body:
            rule = {}
        fault = rule.get("fault")
        if fault == "hang":
            time.sleep(3600)
        if fault == "close":
            self.close_connection = True
            self.connection.close()
            return
        answer = rule.get("body", '{"ok": true}').encode()
        headers = rule.get("headers", {})
        # A rule may have a date of its own.
        send = self.send_response_only if "Date" in headers else self.send_response
        send(rule.get("status", 200))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer) + (9999 if fault in ("drip", "half") else 0)))
        self.end_headers()
        self.wfile.write(answer)
        if fault == "half":
            self.close_connection = True
            self.connection.close()
        while fault == "drip":
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.1)

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 4:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
