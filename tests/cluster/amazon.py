"""A small EC2: moto answers the API, an IMDSv2 responder hands out the roles' keys, and instances are real hosts.

Every call signed with a role's keys is checked against that role's policies, as the stack has made them, and noted.
"""

from __future__ import annotations

import io
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import boto3
import template as cloudformation
from bucket import OWNER
from hosts import GATEWAY, METADATA, Host
from moto.backends import get_backend
from moto.server import DomainDispatcherApplication, create_backend_app
from policies import allowed
from werkzeug.serving import BaseWSGIServer, make_server

REGION = "us-east-1"
ACCOUNT = "123456789012"
ENDPOINT = f"http://{GATEWAY}:5000"

_STARTED_WITH = ("key-pair", "launch-template", "network-interface", "spot-instances-request", "subnet", "volume")
"""What RunInstances is judged on beside the instance itself, its image and its security groups."""

_DENIED = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>{role} may not {action} on {resource}</Message>
</Error></Errors><RequestID>0</RequestID></Response>"""


class Amazon:
    """Runs until `close`; `calls` holds role, action, allowed.

    `environment` is what every host's processes have, `keys` what the roles sign with; the S3 server knows them too.
    """

    def __init__(self, environment: Mapping[str, str], keys: Mapping[str, Mapping[str, str]]) -> None:
        self.calls: list[tuple[str, str, bool]] = []
        self.hosts: dict[str, Host] = {}
        self._environment = {"AWS_ENDPOINT_URL": ENDPOINT, **environment}
        self._keys = {role: dict(pair) for role, pair in keys.items()}
        self._roles = {pair["AWS_ACCESS_KEY_ID"]: role for role, pair in keys.items()}
        self._over = threading.Event()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        moto = DomainDispatcherApplication(create_backend_app)
        self._api: BaseWSGIServer = make_server(GATEWAY, 5000, self._guarded(moto), threaded=True)
        self._metadata = ThreadingHTTPServer((METADATA, 80), _responder(self))
        for serve in (self._api.serve_forever, self._metadata.serve_forever, self._power):
            threading.Thread(target=serve, daemon=True).start()

    def stack(self, template: str, **parameters: str) -> str:
        """Makes a CloudFormation stack and returns its state."""
        # The image that the template's default names; moto knows no such parameter, and lets nobody put it.
        ec2, store = self.client("ec2"), get_backend("ssm")[ACCOUNT][REGION]
        image = ec2.describe_images(Filters=[{"Name": "name", "Values": ["ubuntu*"]}])["Images"][0]["ImageId"]
        self.client("ssm").put_parameter(Name="/image", Value=image, Type="String")
        store._parameters[cloudformation.read(template)["Parameters"]["ImageId"]["Default"]] = store._parameters[
            "/image"
        ]
        given = {"VpcId": ec2.describe_vpcs()["Vpcs"][0]["VpcId"], **parameters}
        self.client("cloudformation").create_stack(
            StackName="vaetune",
            TemplateBody=template,
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        )
        state: str = self.client("cloudformation").describe_stacks(StackName="vaetune")["Stacks"][0]["StackStatus"]
        return state

    def client(self, service: str, keys: Mapping[str, str] = OWNER) -> Any:
        """boto3's, with the account owner's keys or those of a role."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=ENDPOINT,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )

    def keys(self, role: str) -> dict[str, str]:
        """A role's keys, as the environment has them."""
        return self._keys[role]

    def instances(self, role: str = "") -> list[Any]:
        """Those that run, the oldest first; of one role only if it is named."""
        found = [i for r in get_backend("ec2")[ACCOUNT][REGION].reservations.values() for i in r.instances]
        return [i for i in found if i.state == "running" and (not role or self.role(i) == role)]

    def terminate(self, ids: Collection[str]) -> None:
        """As spot machines are; returns when they are off."""
        self.client("ec2").terminate_instances(InstanceIds=[*ids])
        while self.hosts.keys() & {*ids}:
            time.sleep(0.01)

    def role(self, instance: Any) -> str:
        """The role of an instance's profile."""
        profile = instance.iam_instance_profile  # moto adds it a moment after the start
        return str(profile["Arn"]).rpartition("/")[2] if profile else ""

    def close(self) -> None:
        self._over.set()
        self._api.shutdown()
        self._metadata.shutdown()
        self._api.server_close()
        self._metadata.server_close()
        for host in [*self.hosts.values()]:
            host.power_off()

    def _power(self) -> None:
        """Switches hosts on and off as the instances are."""
        while not self._over.wait(0.1):
            running = {instance.id: instance for instance in self.instances()}
            for id in self.hosts.keys() - running.keys():
                self.hosts[id].power_off()
                del self.hosts[id]
            for id in running.keys() - self.hosts.keys():
                instance = running[id]
                addresses = [f"{instance.private_ip}/16", f"{instance.public_ip}/32"]
                key = get_backend("ec2")[ACCOUNT][REGION].key_pairs[instance.key_name].public_key
                self.hosts[id] = Host(id, addresses, key, self._environment)

    def _guarded(self, application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        def guarded(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            signed = re.search(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
            role = self._roles.get(signed[1]) if signed else None
            if signed and role:
                body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                environ["wsgi.input"] = _again(body)
                for action, resource, facts in self._asked(signed[2], parse_qs(body.decode())):
                    may = allowed(self._statements(role), action, resource, facts)
                    self.calls.append((role, action, may))
                    if not may:
                        start("403 Forbidden", [("Content-Type", "text/xml")])
                        return [_DENIED.format(role=role, action=action, resource=resource).encode()]
            return application(environ, start)

        return guarded

    def _asked(self, service: str, form: Mapping[str, list[str]]) -> Iterable[tuple[str, str, dict[str, str]]]:
        """What a call asks for: action, resource, and the facts that conditions may use."""
        action = f"{service}:{form['Action'][0]}"
        first = {key: values[0] for key, values in form.items()}
        arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/"
        if action == "ec2:RunInstances":
            tags = {first[k]: first.get(k[:-3] + "Value", "") for k in first if re.search(r"\.Tag\.\d+\.Key$", k)}
            facts = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
            yield action, f"{arn}*", facts | {"ec2:InstanceType": first["InstanceType"]}
            yield action, f"arn:aws:ec2:{REGION}::image/ami-1", {}
            groups = [f"security-group/{first[k]}" for k in first if re.match(r"SecurityGroupId\.\d+$", k)]
            for other in (*groups, *(f"{kind}/1" for kind in _STARTED_WITH)):
                yield action, f"arn:aws:ec2:{REGION}:{ACCOUNT}:{other}", {}
            yield "ec2:CreateTags", f"{arn}*", {"ec2:CreateAction": "RunInstances"}
            role = f"arn:aws:iam::{ACCOUNT}:role/{first.get('IamInstanceProfile.Name')}"
            yield "iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"}
        elif ids := [first[k] for k in first if re.match(r"(InstanceId|ResourceId)\.\d+$", k)]:
            known = {i.id: i for i in self.instances()}
            for id in ids:
                tags = {tag["key"]: tag["value"] for tag in known[id].get_tags()} if id in known else {}
                yield action, f"{arn}{id}", {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
        else:
            yield action, "*", {}

    def _statements(self, role: str) -> list[Mapping[str, Any]]:
        found = get_backend("iam")[ACCOUNT]["aws"].get_role(role)
        inline = [json.loads(text) if isinstance(text, str) else text for text in found.policies.values()]
        managed = [json.loads(policy.versions[-1].document) for policy in found.managed_policies.values()]
        return [statement for document in inline + managed for statement in document["Statement"]]


def _again(body: bytes) -> io.BytesIO:
    return io.BytesIO(body)


def _responder(amazon: Amazon) -> type[BaseHTTPRequestHandler]:
    """IMDSv2: a token first, then what belongs to the host that asks, known by its address."""
    tokens: set[str] = set()

    class Responder(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            if self.path != "/latest/api/token":
                return self._answer(404)
            tokens.add(token := secrets.token_hex(16))
            return self._answer(200, token)

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") not in tokens:
                return self._answer(401)
            asks = [i for i in amazon.instances() if i.private_ip == self.client_address[0]]
            if not asks:
                return self._answer(404)
            role, zone = amazon.role(asks[0]), asks[0].placement
            credentials = "/latest/meta-data/iam/security-credentials"
            known: dict[str, Callable[[], str]] = {
                f"{credentials}": lambda: role,
                f"{credentials}/{role}": lambda: json.dumps(_credentials(amazon.keys(role))),
                "/latest/meta-data/instance-id": lambda: str(asks[0].id),
                "/latest/meta-data/placement/availability-zone": lambda: str(zone),
                "/latest/meta-data/placement/region": lambda: REGION,
            }
            found = known.get(self.path.rstrip("/"))
            return self._answer(200, found()) if found else self._answer(404)

        def _answer(self, code: int, text: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Responder


def _credentials(keys: Mapping[str, str]) -> dict[str, str]:
    return {
        "Code": "Success",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "Type": "AWS-HMAC",
        "AccessKeyId": keys["AWS_ACCESS_KEY_ID"],
        "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"],
        "Token": "",  # the S3 server would look it up
        "Expiration": "2099-01-01T00:00:00Z",
    }
