"""An HTTP proxy on loopback that records. Prints its port, then writes each request as a line of JSON.

usage: proxy.py LOG PORT

A CONNECT is answered with a tunnel to PORT of this machine, whatever host it names. Any other request (a client that shows
the proxy what it sends) is recorded whole, and answered with 200.
"""
import json
import socket
import sys
import threading

log = open(sys.argv[1], "a", buffering=1)
target = int(sys.argv[2])


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def serve(peer):
    head = b""
    while b"\r\n\r\n" not in head:
        got = peer.recv(65536)
        if not got:
            return
        head += got
    first = head.split(b"\r\n")[0].decode(errors="replace")
    log.write(json.dumps({"line": first, "text": head.decode(errors="replace")}) + "\n")
    if not first.startswith("CONNECT "):
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}")
        peer.close()
        return
    there = socket.create_connection(("127.0.0.1", target))
    peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    threading.Thread(target=pump, args=(peer, there), daemon=True).start()
    pump(there, peer)


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    peer, _ = listener.accept()
    threading.Thread(target=serve, args=(peer,), daemon=True).start()
