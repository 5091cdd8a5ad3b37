"""Does one thing in an AWS that moto plays, by boto3, and prints the result as JSON.

Usage: iam.py URL KEYS ACTION ARGUMENTS, such as iam.py http://127.0.0.1:5000 '{"id": "x", "secret": "x"}' get_group '{"GroupName": "x"}'
"""

import json
import sys

import boto3

url, keys, action, arguments = sys.argv[1:]
keys = json.loads(keys)
iam = boto3.client("iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id=keys["id"],
                   aws_secret_access_key=keys["secret"])
answer = getattr(iam, action)(**json.loads(arguments))
print(json.dumps(answer, default=str))
