"""What `cluster/check.py` says before `ray up` would say it worse."""

from __future__ import annotations

import importlib.util
import re
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
        ec2.create_security_group(GroupName="vaetune-ray", Description="d")
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


def refused(check: ModuleType, bucket: str, cluster: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)) as error:
        check.check(bucket, cluster)
    assert "\n" not in str(error.value)
