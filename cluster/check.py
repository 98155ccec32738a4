"""`python cluster/check.py BUCKET`: whether `ray up cluster/gpu.yaml` will find what it needs; one line if not.

Ray itself answers a missing token, missing credentials or a wrong region with a traceback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from vaetune.errors import UserError
from vaetune.study import token

FILE = Path(__file__).with_name("gpu.yaml")


def main() -> int:
    """0 where all is there, 2 and a line on standard error for the first thing that is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bucket", help="the results bucket of the stack")
    try:
        check(parser.parse_args().bucket, yaml.safe_load(FILE.read_text(encoding="utf-8")))
    except UserError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 2
    print("ready: ray up cluster/gpu.yaml")
    return 0


def check(bucket: str, cluster: dict[str, Any]) -> None:
    """Raises `UserError` for the first thing that is missing."""
    token.require({"RAY_AUTH_TOKEN_PATH": str(Path(cluster["file_mounts"]["~/.ray/auth_token"]).expanduser())})
    region = cluster["provider"]["region"]
    names = [node["node_config"] for node in cluster["available_node_types"].values()]
    ec2, iam, s3 = (boto3.client(service, region_name=region) for service in ("ec2", "iam", "s3"))
    stack = f"make cluster/aws-stack.yaml there, or set the region in {FILE.name}"
    for template in {each["LaunchTemplate"]["LaunchTemplateName"] for each in names}:
        _ask(
            lambda: ec2.describe_launch_templates(LaunchTemplateNames=[template]),  # noqa: B023 - asked at once
            f"region {region} has no launch template {template}; {stack}",
        )
    group = cluster["provider"]["security_group"]["GroupName"]
    filters = [{"Name": "group-name", "Values": [group]}]
    if not _ask(lambda: ec2.describe_security_groups(Filters=filters), stack)["SecurityGroups"]:
        raise UserError(f"region {region} has no security group {group}; {stack}")
    for profile in sorted({each["IamInstanceProfile"]["Name"] for each in names}):
        _ask(
            lambda: iam.get_instance_profile(InstanceProfileName=profile),  # noqa: B023
            f"the account has no instance profile {profile}; {stack}",
        )
    _ask(lambda: s3.head_bucket(Bucket=bucket), f"there is no bucket {bucket} that these credentials may use")


def _ask(question: Callable[[], Any], otherwise: str) -> Any:
    try:
        return question()
    except NoCredentialsError as error:
        raise UserError("no AWS credentials: set AWS_PROFILE, or run `aws configure` or `aws sso login`") from error
    except ClientError as error:
        code = error.response["Error"]["Code"]
        refused = {"AuthFailure", "UnauthorizedOperation", "InvalidClientTokenId", "ExpiredToken", "403"}
        raise UserError(f"AWS refuses these credentials: {error}" if code in refused else otherwise) from error
    except BotoCoreError as error:
        raise UserError(f"AWS does not answer: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
