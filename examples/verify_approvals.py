#!/usr/bin/env python3
"""Verifies the signed approvals of an audit log with ssh-keygen, by what docs/log-format.md says and without access.

access audit export --format raw > log.jsonl; verify_approvals.py log.jsonl

Prints each approval and the key that signed it. Exits 1 if a signature is not one of its approver's, of exactly these terms.
Verify the export itself first: docs/log-format.md has 20 lines for that. The keys are those that the log has: compare them with
those that you know.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile

NAMESPACE = "access-approval"


def text_of(log, filed, details, rests_on, approval):
    """The text that an approval signs."""
    terms = approval["terms"]
    end = terms["end"]
    lines = [("access approval", 1), ("log", log), ("request", approval["request"]), ("entry", rests_on[0])]
    lines += [("hash", rests_on[1]), ("requester", filed["requester"]), ("login", filed.get("requester_login"))]
    lines += [("filed by", filed["filed_by"] if filed["filed_by"] != filed["requester"] else None)]
    lines += [("resource", terms["resource"])]
    if end == "never":
        lines += [("duration", "permanent")]
    else:
        lines += [("until", end.get("at")), ("duration", end.get("after"))]
    lines += [("start", terms.get("start")), ("ticket", details.get("ticket")), ("reason", details["reason"])]
    lines += [("approver", approval["by"]), ("note", approval.get("note"))]
    lines = [(key, str(value).replace("\n", "\n    ")) for key, value in lines if value is not None]
    return "".join(f"{key}: {value}\n" for key, value in lines)


def unambiguous(pairs):
    """An object of JSON. Readers differ in which of two values with one key they take."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an entry has a key twice")
    return fields


def was_touched(digits):
    """Whether somebody touched the security key that made a signature. ssh-keygen does not ask. True for other keys."""
    rest, fields = base64.b64decode(digits)[10:], []
    for _ in range(5):
        end = 4 + int.from_bytes(rest[:4], "big")
        fields.append(rest[4:end])
        rest = rest[end:]
    # The key and the signature begin with their type. That of a security key ends with its flags and a counter of 4 bytes.
    return not fields[0][4:].startswith(b"sk-") or bool(fields[4][-5] & 1)


def verify(folder, text, approval, keys):
    """What ssh-keygen says: whether one of these keys signed the text."""
    digits = approval["signature"]
    if not was_touched(digits):
        return False, "nobody touched the security key that made the signature"
    armored = "\n".join(digits[at : at + 70] for at in range(0, len(digits), 70))
    with open(os.path.join(folder, "signature"), "w", encoding="utf-8") as file:
        file.write(f"-----BEGIN SSH SIGNATURE-----\n{armored}\n-----END SSH SIGNATURE-----\n")
    with open(os.path.join(folder, "signers"), "w", encoding="utf-8") as file:
        file.writelines(f'{approval["by"]} namespaces="{NAMESPACE}" {key}\n' for key in keys)
    words = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-f", "signers", "-I", approval["by"], "-s", "signature"]
    ran = subprocess.run(words, cwd=folder, input=text.encode(), capture_output=True, check=False)
    return ran.returncode == 0, (ran.stdout or ran.stderr).decode().splitlines()[-1]


def main(path):
    log, keys, filed, details, rests_on, named = None, {}, {}, {}, {}, {}
    hashed, good = bytes(32), True
    with open(path, encoding="utf-8", newline="\n") as export, tempfile.TemporaryDirectory() as folder:
        for line in export:
            body = json.loads(line)["body"]
            hashed = hashlib.sha256(hashed + body.encode()).digest()
            entry = json.loads(body, object_pairs_hook=unambiguous)
            action, detail = entry["event"]["action"], entry["event"]["detail"]
            place = (entry["seq"], hashed.hex())
            for change in detail["changes"] if action in ("team.initialized", "team.applied") else []:
                if log is None and change["what"] == "team":
                    log = f'access/{change["to"]["name"]}/{hashed.hex()[:16]}'
                if change["what"].startswith("member:"):
                    keys[change["what"][7:]] = (change["to"] or {}).get("ssh_keys", [])
            request = detail.get("request")
            if action == "request.submitted":
                filed[request] = details[request] = detail
                rests_on[request], named[request] = place, detail["asked"]
            elif action == "request.edited":
                details[request] = detail["to"]
                rests_on[request], named[request] = place, detail["to"]["asked"]
            elif action == "approvals.voided":
                rests_on[request] = place
            elif action == "request.approved":
                if "signature" in detail:
                    text = text_of(log, filed[request], details[request], rests_on[request], detail)
                    is_valid, said = verify(folder, text, detail, keys.get(detail["by"], []))
                    good &= is_valid
                    print(f'{"ok" if is_valid else "NOT OK"}: entry {entry["seq"]}, request {request}: {said}')
                if detail["terms"] != named[request] or detail.get("voids"):
                    rests_on[request], named[request] = place, detail["terms"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
