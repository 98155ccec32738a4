"""`python cluster/check.py BUCKET`: whether `ray up cluster/gpu.yaml` will find what it needs; one line if not.

Ray itself answers a missing token, missing credentials or a wrong region with a traceback. It passes over settings that
it does not know, and what it does not find it makes: a security group that opens SSH to the world, a role that may do
anything with EC2 and S3.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import yaml
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.validate import ParamValidator

from vaetune.errors import UserError, unknown
from vaetune.study import token

FILE = Path(__file__).with_name("gpu.yaml")

_ABSENT = {"InvalidLaunchTemplateName.NotFoundException", "NoSuchEntity", "404"}
"""What AWS answers where a launch template, an instance profile or a bucket is not there."""

_WORLD = {"0.0.0.0/0", "::/0"}

Tree = Mapping[str, Any]


def main() -> int:
    """0 where all is there, 2 and a line on standard error for the first thing that is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bucket", help="the results bucket of the stack")
    bucket = parser.parse_args().bucket
    try:
        check(bucket, read(FILE))
    except UserError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 2
    print("ready: ray up cluster/gpu.yaml")
    return 0


def read(file: Path) -> Tree:
    """The cluster's file; raises `UserError` where it is no YAML."""
    try:
        found: Tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{file.name} is no YAML: {' '.join(str(error).split())}") from error
    return found


def check(bucket: str, cluster: Tree) -> None:
    """Raises `UserError` for the first thing that is missing or misspelt."""
    with _explained():  # botocore looks for the profile before it does anything
        spelling(cluster)
        token.require({"RAY_AUTH_TOKEN_PATH": str(Path(cluster["file_mounts"]["~/.ray/auth_token"]).expanduser())})
        account(bucket, cluster)


def spelling(cluster: Tree) -> None:
    """The file against Ray's schema and EC2's RunInstances, and what `check` needs of it; nobody is asked."""
    spec = importlib.util.find_spec("ray")
    assert spec is not None and spec.submodule_search_locations
    schema = json.loads(Path(spec.submodule_search_locations[0], "autoscaler/ray-schema.json").read_text())
    settings = schema["properties"]
    _known("", cluster, settings)
    _known("provider", _of(cluster, "provider"), {*settings["provider"]["properties"], "key_pair"})
    for needed in ("provider.region", "provider.availability_zone", "provider.security_group.GroupName"):
        _of(cluster, *needed.split("."))
    _of(cluster, "file_mounts", "~/.ray/auth_token")
    ec2 = botocore.session.get_session().get_service_model("ec2")
    call = ec2.operation_model("RunInstances").input_shape
    for name, node in _of(cluster, "available_node_types").items():
        where = f"available_node_types.{name}"
        _known(where, node, settings["available_node_types"]["patternProperties"][".*"]["properties"])
        config, where = dict(_of(node, "node_config", where=where)), f"{where}.node_config"
        config.pop("SubnetIds", None)  # Ray's own
        _known(where, config, call.members)
        report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **config}, call)
        if report.has_errors():
            raise UserError(f"{FILE.name}: {where}: {report.generate_report().splitlines()[0]}")
        _of(config, "IamInstanceProfile", "Name", where=where)
        if not config.keys() & {"LaunchTemplate", "ImageId"}:
            raise UserError(f"{FILE.name} has no {where}.LaunchTemplate; Ray's own image is too old for torch")
        types = ec2.shape_for("InstanceType").enum
        if _of(config, "InstanceType", where=where) not in types:
            raise unknown(f"{where}.InstanceType", config["InstanceType"], types)


def account(bucket: str, cluster: Tree) -> None:
    """What the file names, as AWS knows it."""
    region, group = cluster["provider"]["region"], cluster["provider"]["security_group"]["GroupName"]
    zones = [zone.strip() for zone in cluster["provider"]["availability_zone"].split(",")]
    nodes = [node["node_config"] for node in cluster["available_node_types"].values()]
    stack = f"make cluster/aws-stack.yaml there, or set the region in {FILE.name}"
    ec2, iam, s3 = (boto3.client(service, region_name=region) for service in ("ec2", "iam", "s3"))
    for template in sorted(
        {node["LaunchTemplate"]["LaunchTemplateName"] for node in nodes if "LaunchTemplate" in node}
    ):
        with _explained(f"region {region} has no launch template {template}; {stack}"):
            ec2.describe_launch_templates(LaunchTemplateNames=[template])
    groups = ec2.describe_security_groups(Filters=_filters({"group-name": [group]}))["SecurityGroups"]
    public = _filters({"availability-zone": zones, "map-public-ip-on-launch": ["true"]})
    subnets = ec2.describe_subnets(Filters=public)["Subnets"]
    if not groups:
        raise UserError(f"region {region} has no security group {group}; {stack}")
    _private(groups)
    if not all("SubnetIds" in node for node in nodes):
        _in_one_network(groups, subnets, ", ".join(zones))
    for kind in sorted({node["InstanceType"] for node in nodes}):
        of = _filters({"instance-type": [kind], "location": zones})
        offers = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=of)
        if not offers["InstanceTypeOfferings"]:
            raise UserError(f"no machines of type {kind} in {', '.join(zones)}: take another type or other zones")
    for profile in sorted({node["IamInstanceProfile"]["Name"] for node in nodes}):
        with _explained(f"the account has no instance profile {profile}; {stack}"):
            iam.get_instance_profile(InstanceProfileName=profile)
    with _explained(f"there is no bucket {bucket}; {stack}", f"bucket {bucket} is not for these credentials"):
        s3.head_bucket(Bucket=bucket)


def _private(groups: Iterable[Tree]) -> None:
    for group in groups:
        rules = group["IpPermissions"]
        ranges = [each for rule in rules for kind in ("IpRanges", "Ipv6Ranges") for each in rule.get(kind, [])]
        if _WORLD & {value for each in ranges for value in each.values()}:
            raise UserError(
                f"security group {group['GroupName']} ({group['GroupId']}) lets in the whole internet, as one that Ray "
                "made does: delete it, and make cluster/aws-stack.yaml"
            )


def _in_one_network(groups: Iterable[Tree], subnets: Iterable[Tree], zones: str) -> None:
    """Of several networks Ray takes one, and where the group is not there it makes another."""
    networks = {subnet["VpcId"] for subnet in subnets}
    if not networks:
        raise UserError(f"no public subnet in {zones}: are these zones of the region in {FILE.name}?")
    if outside := networks - {group["VpcId"] for group in groups}:
        raise UserError(
            f"public subnets in {zones} belong to {', '.join(sorted(outside))} too, where the security group is not: "
            f"name those of the stack's VPC in every node_config of {FILE.name}, SubnetIds: [subnet-…]"
        )


@contextmanager
def _explained(absent: str = "", refused: str = "AWS refuses") -> Iterator[None]:
    """Within, AWS's errors are raised as `UserError`s; `absent` says what is not there, and how to mend it."""
    try:
        yield
    except NoCredentialsError as error:
        raise UserError("no AWS credentials: set AWS_PROFILE, or run `aws configure` or `aws sso login`") from error
    except ClientError as error:
        missing = error.response["Error"]["Code"] in _ABSENT
        raise UserError(absent if absent and missing else f"{refused}: {error}") from error
    except BotoCoreError as error:
        raise UserError(f"AWS cannot be asked: {error}") from error


def _known(where: str, found: Tree, known: Iterable[str]) -> None:
    for key in found:
        if key not in known:
            raise unknown(f"setting {where}".rstrip() + f" in {FILE.name}", key, known)


def _of(tree: Tree, *path: str, where: str = "") -> Any:
    """What stands at `path`."""
    found: Any = tree
    for name in path:
        if not isinstance(found, dict) or name not in found:
            raise UserError(f"{FILE.name} has no {'.'.join([where, *path]).lstrip('.')}")
        found = found[name]
    return found


def _filters(wanted: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """In EC2's form."""
    return [{"Name": name, "Values": values} for name, values in wanted.items()]


if __name__ == "__main__":
    sys.exit(main())
