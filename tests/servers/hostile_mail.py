"""A mail server that lies. Prints its port; writes each line it is sent as a line of its own. It takes no message.

usage: hostile_mail.py LOG MODE [CERT KEY]

MODE:
  echo-plain, echo-login   refuses the login, and repeats what it was sent
  echo-later               takes the login, and repeats it in pieces when it refuses the sender
  echo-split               the same, on several lines and in the recipient's refusal
  inject                   answers STARTTLS, and in the same segment every answer up to the end of a second message
  inject-part              the same with the beginning of one answer
  inject-late              the same a moment later, when the client may have begun to encrypt
  ahead                    sends every answer at once, without encryption
  rude                     refuses each recipient with text that acts on a terminal
  no-end                   answers the end of each message with 354
  endless, long-line       never ends its answer to EHLO
"""
import base64
import socket
import ssl
import sys
import threading
import time

log = open(sys.argv[1], "a", buffering=1)
mode = sys.argv[2]
ANSWERS = b"250 mine\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 taken\r\n"


def heard(line):
    log.write(line.decode(errors="replace").strip() + "\n")


def encrypted(peer):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*sys.argv[3:5])
    peer = tls.wrap_socket(peer, server_side=True)
    while got := peer.recv(4096):  # and never says a word
        for line in got.splitlines():
            heard(b"encrypted " + line)


def serve(peer):
    said = []
    step = 0
    try:
        lines = peer.makefile("rb")
        peer.sendall(b"220 liar.test\r\n")
        if mode == "ahead":
            time.sleep(0.2)
            peer.sendall(ANSWERS + ANSWERS)
        while line := lines.readline():
            heard(line)
            verb = line.split(b":")[0].split()[0].upper() if line.split() else b""
            if verb == b"EHLO" and mode == "endless":
                while True:
                    peer.sendall(b"250-more\r\n" * 1000)
            elif verb == b"EHLO" and mode == "long-line":
                while True:
                    peer.sendall(b"250-more" * 1000)
            elif mode == "ahead":
                pass
            elif verb == b"EHLO" and mode.startswith("inject"):
                peer.sendall(b"250-liar.test\r\n250 STARTTLS\r\n")
            elif verb == b"EHLO":
                methods = b"LOGIN" if mode == "echo-login" else b"PLAIN"
                peer.sendall(b"250-liar.test\r\n250 AUTH " + methods + b"\r\n")
            elif verb == b"STARTTLS":
                if mode == "inject":
                    peer.sendall(b"220 ready\r\n" + ANSWERS + ANSWERS)
                elif mode == "inject-part":
                    peer.sendall(b"220 ready\r\n250-mi")
                else:
                    peer.sendall(b"220 ready\r\n")
                    time.sleep(0.1)
                    peer.sendall(ANSWERS)
                encrypted(peer)
            elif verb == b"AUTH" and mode == "echo-plain":
                peer.sendall(b"535 bad " + line.strip() + b"\r\n")
            elif mode == "echo-login" and (verb == b"AUTH" or said):
                said.append(line.strip())
                if len(said) < 3:
                    peer.sendall(b"334 VXNlcm5hbWU6\r\n")
                else:
                    both = said[-1] + b" " + base64.b64decode(said[-1])
                    peer.sendall(b"535-bad " + both + b"\r\n535 bad " + both + b"\r\n")
                    said = []
            elif verb == b"AUTH":
                said = [line.split()[-1]]
                peer.sendall(b"235 welcome\r\n")
            elif verb == b"MAIL" and mode == "echo-later":
                peer.sendall(b"553 5.7.1 " + said[0][:7] + b" " + said[0][7:] + b"\r\n")
            elif verb == b"RCPT" and mode == "echo-split":
                password = base64.b64decode(said[0]).split(b"\0")[-1]
                peer.sendall(b"550-5.1.1 " + password[:4] + b"\r\n550 " + password[4:] + b"\r\n")
            elif verb == b"RCPT" and mode == "rude":
                peer.sendall("550 5.1.1 \x1b]0;x\x07\u202e\u200b".encode() + b"\xff" + b"x" * 500 + b"\r\n")
            elif verb == b"DATA":
                peer.sendall(b"354 go on\r\n")
                while lines.readline() != b".\r\n":
                    pass
                peer.sendall(b"354 go on\r\n")
            else:
                peer.sendall(b"250 ok\r\n")
    except (OSError, ValueError):
        pass
    finally:
        peer.close()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    peer, _ = listener.accept()
    threading.Thread(target=serve, args=(peer,), daemon=True).start()
