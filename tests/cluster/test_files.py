"""The cluster's files, as Ray, botocore and moto read them; nothing is started."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import template
import yaml

from vaetune.study import submit

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
FILES = ("gpu", "onprem")


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    return template.read((ROOT / "cluster/aws-stack.yaml").read_text())


def resource(stack: dict[str, Any], name: str) -> Any:
    return stack["Resources"][name]["Properties"]


def statements(stack: dict[str, Any], role: str) -> list[dict[str, Any]]:
    """All that a role may do."""
    documents = [p["PolicyDocument"] for p in resource(stack, role).get("Policies", [])]
    if {"Ref": role} in resource(stack, "Results")["Roles"]:
        documents.append(resource(stack, "Results")["PolicyDocument"])
    return [statement for document in documents for statement in document["Statement"]]


def actions(found: list[dict[str, Any]]) -> set[str]:
    return {a for s in found for a in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])}


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_the_file(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.chdir(ROOT)
    config = prepare_config(request.getfixturevalue(name))
    validate_config(config)
    assert config["head_setup_commands"] == config["setup_commands"], "Ray's defaults add no installation"
    assert config["worker_setup_commands"] == config["setup_commands"]
    assert set(request.getfixturevalue(name)) <= set(config), "a key that Ray does not know"


def test_every_node_config_is_a_run_instances_call(gpu: dict[str, Any]) -> None:
    botocore = pytest.importorskip("botocore.session")
    from botocore.validate import ParamValidator

    shape = botocore.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    types = shape.members["InstanceType"].enum
    for name, node in [*gpu["available_node_types"].items(), ("gpu8", commented_out())]:
        config = node["node_config"]
        report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **config}, shape)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"
        assert set(config) <= set(shape.members), name
        assert config["InstanceType"] in types, name


def commented_out() -> dict[str, Any]:
    """The 8-GPU machines, uncommented."""
    text = (ROOT / "cluster/gpu.yaml").read_text()
    opened = re.sub(r"^  # ( *\w+: *.*|gpu8:.*)$", r"  \1", text, flags=re.M)
    found: dict[str, Any] = yaml.safe_load(opened)["available_node_types"]["gpu8"]
    return found


def test_gpus_are_counted_from_the_instance_types(gpu: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto")
    from ray.autoscaler._private.aws import node_provider, utils

    for key, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(key, value)
    for cache in (utils.resource_cache, utils.client_cache):
        cache.cache_clear()
    gpu["available_node_types"]["gpu8"] = commented_out()
    with moto.mock_aws():
        filled = node_provider.AWSNodeProvider.fillout_available_node_types_resources(gpu)["available_node_types"]
    assert {name: node["resources"].get("GPU", 0) for name, node in filled.items()} == {"head": 0, "gpu4": 4, "gpu8": 8}
    assert {name: node["resources"]["CPU"] for name, node in filled.items()} == {"head": 0, "gpu4": 48, "gpu8": 192}


def test_machines_cost_nothing_while_nothing_runs_and_are_private(gpu: dict[str, Any]) -> None:
    provider, types = gpu["provider"], gpu["available_node_types"]
    assert provider["cache_stopped_nodes"] is False
    assert len(provider["availability_zone"].split(",")) == 2
    assert gpu["idle_timeout_minutes"] == 10
    assert provider["security_group"]["GroupName"] == "vaetune-ray"
    for name, node in types.items():
        config = node["node_config"]
        assert config["MetadataOptions"]["HttpTokens"] == "required", name
        for volume in config["BlockDeviceMappings"]:
            assert volume["Ebs"]["Encrypted"] is True
            assert volume["Ebs"]["VolumeType"] == "gp3"
        head = name == gpu["head_node_type"]
        assert config["IamInstanceProfile"] == {"Name": f"vaetune-ray-{'head' if head else 'worker'}"}
        assert ("InstanceMarketOptions" in config) != head, "spot workers, and a head that nobody takes away"
        assert head or node["min_workers"] == 0
    assert types[gpu["head_node_type"]]["resources"]["CPU"] == 0


@pytest.mark.parametrize("name", FILES)
def test_a_cluster_asks_for_its_token_and_shows_its_dashboard_to_itself(
    name: str, request: pytest.FixtureRequest
) -> None:
    config = request.getfixturevalue(name)
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert "stat -c %a ~/.ray/auth_token" in config["setup_commands"][0]
    starts = [c for k in ("head_start_ray_commands", "worker_start_ray_commands") for c in config[k] if "start" in c]
    assert len(starts) == 2
    for command in starts:
        assert "RAY_AUTH_MODE=token ray start" in command
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert config["head_setup_commands"] == config["worker_setup_commands"] == []


@pytest.mark.parametrize("name", FILES)
def test_nothing_travels_but_code(name: str, request: pytest.FixtureRequest) -> None:
    config = request.getfixturevalue(name)
    for remote, local in config["file_mounts"].items():
        if not local.startswith("~"):
            assert (ROOT / local).exists()
            assert remote == f"~/vaetune/{local}"
            assert local in ("vaetune", "studies", "requirements.lock")
    assert {pattern.lstrip("/") for pattern in submit.EXCLUDES} == set(config["rsync_exclude"])
    assert any("requirements.lock" in command for command in config["setup_commands"])


def test_the_image_is_named_by_the_stack(gpu: dict[str, Any], stack: dict[str, Any]) -> None:
    template = resource(stack, "LaunchTemplate")
    assert template["LaunchTemplateData"] == {"ImageId": {"Ref": "ImageId"}}
    for node in gpu["available_node_types"].values():
        assert node["node_config"]["LaunchTemplate"]["LaunchTemplateName"] == template["LaunchTemplateName"]
    assert stack["Parameters"]["ImageId"]["Default"].endswith("ubuntu-24.04/latest/ami-id")


@pytest.mark.parametrize(
    ("cidr", "taken"),
    [("203.0.113.7/32", True), ("10.0.0.0/8", True), ("0.0.0.0/0", False), ("0.0.0.0/1", False), ("::/0", False)],
)
def test_ssh_is_never_open_to_the_world(cidr: str, taken: bool, stack: dict[str, Any]) -> None:
    assert bool(re.fullmatch(stack["Parameters"]["SshCidr"]["AllowedPattern"], cidr)) == taken
    assert resource(stack, "SecurityGroup")["GroupName"] == "vaetune-ray"
    rules = resource(stack, "SecurityGroup")["SecurityGroupIngress"]
    assert [(r["FromPort"], r["ToPort"], r["CidrIp"]) for r in rules] == [(22, 22, {"Ref": "SshCidr"})]
    assert "SourceSecurityGroupId" in resource(stack, "WithinCluster")
    assert "0.0.0.0/0" not in str(stack["Resources"])


def test_the_bucket_keeps_versions_and_lets_nobody_in(stack: dict[str, Any]) -> None:
    bucket = resource(stack, "Bucket")
    assert bucket["VersioningConfiguration"]["Status"] == "Enabled"
    assert bucket["BucketEncryption"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert any("AbortIncompleteMultipartUpload" in rule for rule in bucket["LifecycleConfiguration"]["Rules"])
    (rule,) = resource(stack, "BucketPolicy")["PolicyDocument"]["Statement"]
    assert (rule["Effect"], rule["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_roles_may_do_what_they_need(stack: dict[str, Any]) -> None:
    bucket = {f"s3:{a}" for a in ("ListBucket", "GetBucketLocation", "GetObject", "PutObject", "DeleteObject")}
    bucket.add("s3:AbortMultipartUpload")
    assert actions(statements(stack, "WorkerRole")) == bucket
    machines = {f"ec2:{a}" for a in ("DescribeInstances", "RunInstances", "CreateTags", "TerminateInstances")}
    assert actions(statements(stack, "HeadRole")) == bucket | machines | {"iam:PassRole"}
    for statement in statements(stack, "HeadRole"):
        wide = statement["Resource"] == "*"
        assert wide == (statement["Action"] == "ec2:DescribeInstances")
    (passing,) = [s for s in statements(stack, "HeadRole") if s["Action"] == "iam:PassRole"]
    assert passing["Resource"] == {"GetAtt": "WorkerRole.Arn"}
