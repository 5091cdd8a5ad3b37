"""moto's server, as unkind as AWS: it refuses duplicates, takes its time, and returns pages.

Usage: aws.py PORT SETTINGS

SETTINGS is a file with a JSON object, read at each request:
  page       the most that a page holds
  slow       how often a change of an assignment is still in progress when its status is asked for
  unknown    true: the status of a change is not there at first
  fail       changes fail, for this reason
  accepts    true: what is refused is accepted first, and fails then
  throttled  how many calls are refused because there are too many
"""

import json
import re
import sys
import uuid

from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse
from moto.identitystore.models import IdentityStoreBackend
from moto.server import main
from moto.ssoadmin.exceptions import ConflictException, ResourceNotFoundException
from moto.ssoadmin.responses import SSOAdminResponse

port, path = sys.argv[1:]
KEYS = {"InstanceArn": "instance_arn", "TargetId": "target_id", "TargetType": "target_type",
        "PermissionSetArn": "permission_set_arn", "PrincipalType": "principal_type", "PrincipalId": "principal_id"}
changes = []
throttled = 0


def setting(name):
    with open(path) as file:
        return json.load(file).get(name)


class Change:
    def __init__(self, kind, backend, arguments):
        self.kind, self.backend, self.arguments = kind, backend, arguments
        self.id, self.asked, self.status, self.reason = str(uuid.uuid4()), 0, "IN_PROGRESS", None

    def why_not(self):
        there = any(all(getattr(one, KEYS[key]) == value for key, value in self.arguments.items())
                    for one in self.backend.account_assignments)
        if self.kind == "Creation" and there:
            return ConflictException("the assignment exists")
        if self.kind == "Deletion" and not there:
            return ResourceNotFoundException("there is no such assignment")
        return None

    def carry_out(self):
        refused = self.why_not()
        self.reason = setting("fail") or (refused and refused.message)
        self.status = "FAILED" if self.reason else "SUCCEEDED"
        if not self.reason:
            backend = self.backend
            do = backend.create_account_assignment if self.kind == "Creation" else backend.delete_account_assignment
            do(**{KEYS[key]: value for key, value in self.arguments.items()})

    def shown(self):
        shown = {"Status": self.status, "RequestId": self.id, **self.arguments}
        if self.reason:
            shown["FailureReason"] = self.reason
        return json.dumps({f"AccountAssignment{self.kind}Status": shown})


def in_progress():
    """Those that are not finished when their time has come."""
    for change in changes:
        if change.status == "IN_PROGRESS" and change.asked >= (setting("slow") or 0):
            change.carry_out()
    return [change for change in changes if change.status == "IN_PROGRESS"]


def start(kind):
    def respond(response):
        arguments = json.loads(response.body)
        change = Change(kind, response.ssoadmin_backend, {key: arguments[key] for key in KEYS})
        if any(other.arguments == change.arguments for other in in_progress()):
            raise ConflictException("another change is in progress")
        refused = change.why_not()
        if refused and not setting("accepts"):
            raise refused
        changes.append(change)
        return change.shown()
    return respond


def describe(kind):
    def respond(response):
        id = json.loads(response.body)[f"AccountAssignment{kind}RequestId"]
        [change] = [change for change in changes if change.id == id and change.kind == kind]
        change.asked += 1
        if setting("unknown") and change.asked == 1:
            raise ResourceNotFoundException("there is no such change")
        in_progress()
        return change.shown()
    return respond


def list_changes(kind):
    def respond(response):
        assert json.loads(response.body)["Filter"] == {"Status": "IN_PROGRESS"}
        found = [{"RequestId": change.id, "Status": change.status} for change in in_progress() if change.kind == kind]
        begin = int(response._get_param("NextToken") or 0)
        end = begin + response._get_param("MaxResults")
        rest = {"NextToken": str(end)} if end < len(found) else {}
        return json.dumps({f"AccountAssignments{kind}Status": found[begin:end], **rest})
    return respond


class Unkind(SSOAdminResponse):
    create_account_assignment = start("Creation")
    delete_account_assignment = start("Deletion")
    describe_account_assignment_creation_status = describe("Creation")
    describe_account_assignment_deletion_status = describe("Deletion")
    list_account_assignment_creation_status = list_changes("Creation")
    list_account_assignment_deletion_status = list_changes("Deletion")

    def list_account_assignments(self):
        in_progress()
        return super().list_account_assignments()

    def _get_param(self, name, if_none=None):
        value = super()._get_param(name, if_none)
        return min(value, setting("page") or value) if name == "MaxResults" and value else value

    def call_action(self):
        global throttled
        if throttled < (setting("throttled") or 0):
            throttled += 1
            error = {"__type": "com.amazonaws.swbexternalservice#ThrottlingException", "message": "Rate exceeded"}
            return 400, {}, json.dumps(error)
        status, headers, body = super().call_action()
        if status == 403:
            # moto says it in XML.
            code, message = (re.search(f"<{name}>(.*?)</{name}>", body)[1] for name in ("Code", "Message"))
            body = json.dumps({"__type": code, "Message": message})
        return status, headers, body


def get_group(self):
    group = self.backend.get_group(self._get_param("GroupName"))
    begin = int(self._get_param("Marker") or 0)
    end = begin + (setting("page") or len(group.users) or 1)
    rest = {"IsTruncated": True, "Marker": str(end)} if end < len(group.users) else {"IsTruncated": False}
    return ActionResult({"Group": group, "Users": group.users[begin:end], **rest})


def get_user_id(self, identity_store_id, alternate_identifier, exact=IdentityStoreBackend.get_user_id):
    """AWS ignores the case of names."""
    wanted = alternate_identifier["UniqueAttribute"]
    for user in self.identity_stores[identity_store_id].users.values():
        if user.UserName.lower() == wanted["AttributeValue"].lower():
            wanted["AttributeValue"] = user.UserName
    return exact(self, identity_store_id, alternate_identifier)


IamResponse.get_group = get_group
IdentityStoreBackend.get_user_id = get_user_id
# moto finds the class by its module.
sys.modules["moto.ssoadmin.responses"].SSOAdminResponse = Unkind
main(["-p", port])
