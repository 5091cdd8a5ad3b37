"""A mail server that goes wrong at one step, always. Prints its port; writes each message it takes as a line.

usage: broken_mail.py LOG STEP FAULT

STEP: greeting, ehlo, mail, rcpt, data, body, taken (after the message was logged, before the answer to it).
FAULT: hang, close, drip (a byte a tenth of a second, for ever), nonsense, 421, 451, 550.
"""
import socket
import sys
import threading
import time

log = open(sys.argv[1], "a", buffering=1)
step, fault = sys.argv[2], sys.argv[3]


class Gone(Exception):
    pass


def serve(peer):
    def answer(at, text):
        if at != step:
            peer.sendall(text.encode() + b"\r\n")
        elif fault == "hang":
            time.sleep(3600)
        elif fault == "close":
            raise Gone
        elif fault == "drip":
            while True:
                peer.sendall(b"2")
                time.sleep(0.1)
        elif fault == "nonsense":
            peer.sendall(b"\x00\xff what?\r\n")
        else:
            peer.sendall(fault.encode() + b" this is how it is\r\n")
            if fault == "421":
                raise Gone

    try:
        lines = peer.makefile("rb")
        answer("greeting", "220 broken.test")
        while line := lines.readline():
            verb = line.split(b":")[0].split()[0].upper() if line.split() else b""
            if verb in (b"EHLO", b"HELO"):
                answer("ehlo", "250 broken.test")
            elif verb == b"MAIL":
                answer("mail", "250 ok")
            elif verb == b"RCPT":
                answer("rcpt", "250 ok")
            elif verb == b"DATA":
                answer("data", "354 go on")
                message = b""
                while not message.endswith(b"\r\n.\r\n"):
                    if step == "body" and message.count(b"\n") == 3:
                        answer("body", "")
                    got = lines.readline()
                    if not got:
                        raise Gone
                    message += got
                if step == "body":
                    continue
                headers = [line for line in message.split(b"\r\n") if line.lower().startswith(b"message-id:")]
                log.write(headers[0].decode() + "\n")
                answer("taken", "250 taken")
            elif verb == b"QUIT":
                peer.sendall(b"221 bye\r\n")
                break
            else:
                peer.sendall(b"250 ok\r\n")
    except (Gone, OSError):
        pass
    finally:
        peer.close()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    peer, _ = listener.accept()
    threading.Thread(target=serve, args=(peer,), daemon=True).start()
