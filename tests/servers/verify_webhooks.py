"""Checks webhooks with the published library of Standard Webhooks. Reads web.py's lines; prints how many are right.

usage: verify_webhooks.py LOG SECRET
"""
import json
import sys

from standardwebhooks.webhooks import Webhook

webhook = Webhook(sys.argv[2])
count = 0
for line in open(sys.argv[1]):
    request = json.loads(line)
    webhook.verify(request["body"], request["headers"])  # raises where it is wrong
    count += 1
print(count)
