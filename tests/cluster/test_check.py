"""What `cluster/check.py` says before `ray up` would say it worse."""

from __future__ import annotations

import copy
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vaetune.errors import UserError

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def check() -> ModuleType:
    path = Path(__file__).parents[2] / "cluster/check.py"
    spec = importlib.util.spec_from_file_location("cluster_check", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An account in which the stack has been made, and a token."""
    moto = pytest.importorskip("moto")
    import boto3

    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("f" * 64)
    token.chmod(0o600)
    with moto.mock_aws():
        ec2, iam, s3 = (boto3.client(name, region_name="us-east-1") for name in ("ec2", "iam", "s3"))
        ec2.create_launch_template(LaunchTemplateName="vaetune-ray", LaunchTemplateData={"ImageId": "ami-1"})
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        ec2.create_security_group(GroupName="vaetune-ray", Description="d", VpcId=vpc)
        for role in ("head", "worker"):
            iam.create_instance_profile(InstanceProfileName=f"vaetune-ray-{role}")
        s3.create_bucket(Bucket="results")
        yield


def test_where_all_is_there_nothing_is_said(account: None, check: ModuleType, gpu: dict[str, Any]) -> None:
    check.check("results", gpu)


def test_a_missing_bucket(account: None, check: ModuleType, gpu: dict[str, Any]) -> None:
    refused(check, "other", gpu, "there is no bucket other")


def test_a_wrong_region(account: None, check: ModuleType, gpu: dict[str, Any]) -> None:
    gpu["provider"]["region"] = "eu-west-1"
    refused(check, "results", gpu, "region eu-west-1 has no launch template vaetune-ray")


def test_no_credentials(
    account: None, check: ModuleType, gpu: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    refused(check, "results", gpu, "no AWS credentials")


def test_a_profile_that_is_not_there(check: ModuleType, gpu: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    refused(check, "results", gpu, "AWS cannot be asked: The config profile (nobody) could not be found")


@pytest.mark.parametrize("mode", [None, 0o644])
def test_no_token_or_one_that_others_can_read(
    account: None, check: ModuleType, gpu: dict[str, Any], tmp_path: Path, mode: int | None
) -> None:
    token = tmp_path / ".ray" / "auth_token"
    if mode is None:
        token.unlink()
    else:
        token.chmod(mode)
    refused(check, "results", gpu, "no token of the cluster" if mode is None else "chmod 600")


def test_a_group_that_opens_ssh_to_the_world(account: None, check: ModuleType, gpu: dict[str, Any]) -> None:
    import boto3

    ec2 = boto3.client("ec2", region_name="us-east-1")
    (group,) = ec2.describe_security_groups(GroupNames=["vaetune-ray"])["SecurityGroups"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[rule])
    refused(check, "results", gpu, "lets in the whole internet")


def test_public_subnets_of_another_network(account: None, check: ModuleType, gpu: dict[str, Any]) -> None:
    import boto3

    ec2 = boto3.client("ec2", region_name="us-east-1")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone="us-east-1b")["Subnet"]["SubnetId"]
    check.check("results", gpu)
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    refused(check, "results", gpu, f"belong to {vpc} too")
    for node in gpu["available_node_types"].values():
        node["node_config"]["SubnetIds"] = [subnet]
    check.check("results", gpu)


def test_zones_of_another_region_and_machines_that_they_do_not_have(
    account: None, check: ModuleType, gpu: dict[str, Any]
) -> None:
    gpu["provider"]["availability_zone"] = "us-west-2a"
    refused(check, "results", gpu, "no public subnet in us-west-2a")
    gpu["provider"]["availability_zone"] = "us-east-1e"
    refused(check, "results", gpu, "no machines of type g5.12xlarge in us-east-1e")


GPU4 = ("available_node_types", "gpu4")
CONFIG = (*GPU4, "node_config")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("idle_timeout",), 5, "unknown setting in gpu.yaml 'idle_timeout': did you mean 'idle_timeout_minutes'"),
        (("provider", "cache_stoped_nodes"), False, "did you mean 'cache_stopped_nodes'"),
        ((*GPU4, "min_worker"), 1, "setting available_node_types.gpu4 in gpu.yaml 'min_worker': did you mean 'min_"),
        ((*CONFIG, "InstanceTyp"), "g5.xlarge", "did you mean 'InstanceType'"),
        ((*CONFIG, "MetadataOptions", "HttpToken"), "required", 'Unknown parameter in MetadataOptions: "HttpToken"'),
        ((*CONFIG, "InstanceType"), "g5.12xlarg", "gpu4.node_config.InstanceType 'g5.12xlarg': did you mean 'g5.12"),
        (
            (*CONFIG, "IamInstanceProfile"),
            None,
            "gpu.yaml has no available_node_types.gpu4.node_config.IamInstanceProf",
        ),
        ((*CONFIG, "LaunchTemplate"), None, "Ray's own image is too old"),
        (("provider", "security_group"), None, "gpu.yaml has no provider.security_group.GroupName"),
        (("file_mounts", "~/.ray/auth_token"), None, "gpu.yaml has no file_mounts.~/.ray/auth_token"),
    ],
)
def test_wrong_edits_of_the_file(
    check: ModuleType, gpu: dict[str, Any], path: tuple[str, ...], value: Any, reason: str
) -> None:
    gpu = copy.deepcopy(gpu)  # YAML's anchors are one object
    place = gpu
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(UserError, match=re.escape(reason)):
        check.spelling(gpu)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("403", "bucket b is not for these"), ("404", "no bucket b"), ("RequestExpired", "not for these")],
)
def test_what_aws_answers(check: ModuleType, code: str, reason: str) -> None:
    from botocore.exceptions import ClientError

    with (
        pytest.raises(UserError, match=reason),
        check._explained("no bucket b", "bucket b is not for these credentials"),
    ):
        raise ClientError({"Error": {"Code": code, "Message": "m"}}, "HeadBucket")


def test_the_command_says_one_line(
    account: None,
    check: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sys, "argv", ["check.py", "results"])
    assert check.main() == 0
    assert capsys.readouterr().out == "ready: ray up cluster/gpu.yaml\n"
    monkeypatch.setattr(sys, "argv", ["check.py", "other"])
    assert check.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cluster: there is no bucket other; make cluster/aws-stack.yaml")
    monkeypatch.setattr(check, "FILE", tmp_path / "gpu.yaml")
    (tmp_path / "gpu.yaml").write_text("provider: {type: aws\n")
    assert check.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cluster: gpu.yaml is no YAML: while parsing a flow mapping")


def refused(check: ModuleType, bucket: str, cluster: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)) as error:
        check.check(bucket, cluster)
    assert "\n" not in str(error.value)
