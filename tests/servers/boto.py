"""Does things in an AWS that moto plays, by boto3. It reads lines of JSON, and prints each result as one.

Usage: boto.py URL, with lines such as
{"keys": {"id": "x", "secret": "x"}, "service": "iam", "action": "get_group", "arguments": {"GroupName": "x"}}
"""

import functools
import json
import sys

import boto3


@functools.cache
def client(service, id, secret):
    return boto3.client(service, endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id=id,
                        aws_secret_access_key=secret)


for line in sys.stdin:
    ask = json.loads(line)
    action = getattr(client(ask["service"], **ask["keys"]), ask["action"])
    print(json.dumps(action(**ask["arguments"]), default=str), flush=True)
