"""`cluster/gpu.yaml` and `cluster/onprem.yaml`, unmodified, on hosts that boot, are reached over SSH and lose power."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hosts
import pandas as pd
import pytest
from pyarrow import compute, parquet

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    # moto reads every other part of the stack
    pytest.mark.filterwarnings("ignore:Tried to parse AWS..S3..BucketPolicy"),
]

HEAD, WORKER = "vaetune-ray-head", "vaetune-ray-worker"
KEYS = {
    role: {"AWS_ACCESS_KEY_ID": f"ASIA{i:016d}", "AWS_SECRET_ACCESS_KEY": f"of-the-{role}"}
    for i, role in enumerate((HEAD, WORKER))
}
BUCKET = "vaetune-results"
DASHBOARD = "http://127.0.0.1:8265"
STUDY = "tests/cluster/small.py"
TABLES = ("ledger", "history", "replicates")


@pytest.fixture(scope="module")
def switch() -> None:
    """A network of its own, with this process in it."""
    if why := hosts.missing():
        if os.environ.get("VAETUNE_REQUIRE_CLUSTER_TESTS") == "1":
            pytest.fail(why)
        pytest.skip(why)
    hosts.enter()


@pytest.fixture(scope="module")
def s3(switch: None, tmp_path_factory: pytest.TempPathFactory, weed_server: Any) -> Iterator[Any]:
    """A real S3 server that lets the roles into the results bucket alone."""
    folder = tmp_path_factory.mktemp("s3")
    owner = {"name": "owner", "credentials": [_pair("owner", "of-the-account")]}
    roles = [
        {
            "name": role,
            "credentials": [_pair(*keys.values())],
            "actions": [f"{may}:{BUCKET}" for may in ("Read", "Write", "List")],
        }
        for role, keys in KEYS.items()
    ]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [*roles, owner | {"actions": ["Admin", "Read", "Write", "List"]}]}))
    server = weed_server(folder, hosts.GATEWAY, BUCKET, f"-s3.config={config}")
    yield server
    server.kill()


def _pair(key: str, secret: str) -> dict[str, str]:
    return {"accessKey": key, "secretKey": secret}


@pytest.fixture
def laptop(s3: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Any]:
    from laptop import Laptop

    def say(line: str) -> None:
        with capfd.disabled():
            print(line, flush=True)

    say("")
    laptop = Laptop(tmp_path, {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}, say)
    yield laptop
    laptop.close()


@pytest.fixture
def amazon(s3: Any) -> Iterator[Any]:
    from amazon import REGION, Amazon

    told = {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_REGION": REGION, "VAETUNE_LOGICAL_GPUS": "1", **SHARED}
    amazon = Amazon(told, KEYS)
    yield amazon
    amazon.close()


SHARED = {"RAY_prestart_worker_first_driver": "0", "RAY_worker_niceness": "0"}
"""Machines of 48 counted cores would start 48 processes beforehand, on the two that there are; and trials have to move
on beside whatever else this machine does."""


class Bucket:
    """What a study has left in S3 so far."""

    def __init__(self, s3: Any, prefix: str) -> None:
        import boto3

        keys = {"aws_access_key_id": "owner", "aws_secret_access_key": "of-the-account"}
        self._client = boto3.client("s3", endpoint_url=s3.endpoint, region_name="us-east-1", **keys)
        self._prefix = prefix

    def listed(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self._prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def partials(self) -> dict[str, int]:
        """The last epoch at which each member that still trains is written down."""
        found = [re.search(r"/checkpoints/([^/]+)/partial/(\d+)/manifest", key) for key in self.listed()]
        kept: dict[str, int] = {}
        for match in found:
            if match:
                kept[match[1]] = max(kept.get(match[1], 0), int(match[2]))
        return kept

    def fetch(self, folder: Path) -> str:
        """Copies it all into `folder`, and returns the RUN."""
        for key in self.listed():
            if key.endswith("/"):  # pyarrow's mark of a folder
                continue
            file = folder / key.removeprefix(self._prefix)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._client.download_file(BUCKET, key, str(file))
        (run,) = os.listdir(folder / "small")
        return run


def status(path: str, token: str = "", url: str = DASHBOARD) -> int:
    """HTTP's, 0 where nobody answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def run_study(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "vaetune.study", *arguments, "--tracking-uri", "none")


def loses_a_machine(laptop: Any, bucket: Bucket, study: subprocess.Popen[str], lose: Callable[[], None]) -> None:
    """Takes a machine away once checkpoints are there; trials go on from them and lose little."""
    laptop.wait("first checkpoints", bucket.partials, 240, study)
    kept = bucket.partials()
    lose()
    laptop.step("machine taken away")

    def restored() -> bool:
        now = bucket.partials()
        back = {member: epoch for member, epoch in now.items() if epoch < kept.get(member, 0)}
        assert not back, f"trained again from the beginning: {back}, written down before: {kept}"
        # One whose checkpoint is gone was trained to its end.
        return all(now.get(member, math.inf) > epoch for member, epoch in kept.items())

    laptop.wait("trials restored from S3", restored, 300, study)


def ends(laptop: Any, study: subprocess.Popen[str], log: str) -> None:
    assert study.wait(400) == 0, laptop.log(log)[-6000:]
    laptop.step("study finished")


def test_gpu_yaml_on_a_small_ec2(amazon: Any, s3: Any, laptop: Any, tmp_path: Path) -> None:
    from amazon import ENDPOINT, OWNER

    laptop.environment |= {**OWNER, "AWS_ENDPOINT_URL": ENDPOINT}
    template = (hosts_root() / "cluster/aws-stack.yaml").read_text()
    assert amazon.stack(template, BucketName=BUCKET, SshCidr="203.0.113.7/32") == "CREATE_COMPLETE"
    laptop.step("stack")
    laptop.run("ray", "up", "-y", "cluster/gpu.yaml")
    laptop.step("ray up")
    dashboard = laptop.start("ray", "dashboard", "cluster/gpu.yaml", log="dashboard")
    laptop.wait("dashboard", lambda: status("/api/version"), 60, dashboard)

    token = laptop.log(".ray/auth_token")
    assert status("/api/jobs/") == 401
    assert status("/api/jobs/", "wrong" * 12) in (401, 403)
    assert status("/api/jobs/", token) == 200
    for path in ("/", "/api/gcs_healthz", "/api/authentication_mode"):
        assert status(path) == 200, "open without a token, as the README says"
    strangers = laptop.start("ray", "exec", "cluster/gpu.yaml", attempts(), log="strangers")

    where = ("--submit", DASHBOARD, "--storage", f"s3://{BUCKET}/runs")
    said = laptop.run(*run_study(STUDY, *where, "--set", "resources.gpus=8"), ok=False, timeout=60)
    assert "a trial asks for 1 CPU, 8 GPU, and no machine has that" in said
    assert "up to 4 of 48 CPU, 4 GPU could be started" in said
    laptop.step("too much refused")
    assert laptop.steps["too much refused"] < 30
    assert not amazon.instances(WORKER)

    bucket = Bucket(s3, "runs/")
    study = laptop.start(*run_study(STUDY, *where, "--set", "resources.gpus=1"), log="study")
    assert strangers.wait(120) == 0
    only_the_owner_comes_in(laptop.log("strangers"))
    laptop.wait("worker started", lambda: amazon.instances(WORKER), 120, study)
    laptop.wait("first trials trained", lambda: any("/tables/history/" in key for key in bucket.listed()), 240, study)

    def reclaimed() -> None:
        ids = [instance.id for instance in amazon.instances(WORKER)]
        amazon.client("ec2").terminate_instances(InstanceIds=ids)
        laptop.wait("replaced", lambda: {i.id for i in amazon.instances(WORKER)} - {*ids}, 120, study)

    loses_a_machine(laptop, bucket, study, reclaimed)
    ends(laptop, study, "study")
    assert "it goes on from its last checkpoint" in laptop.log("study")

    # Ten minutes are not waited for: the head's copy of the file is shortened, and its autoscaler reads it again.
    shorter = 'sed -i \'s/"idle_timeout_minutes": 10/"idle_timeout_minutes": 0.05/\' ~/ray_bootstrap_config.yaml'
    laptop.run("ray", "exec", "cluster/gpu.yaml", shorter)
    alone = laptop.start(*on_one_machine(bucket, tmp_path / "alone"), log="alone", TMPDIR="/tmp")
    laptop.wait("idle, scaled down", lambda: not amazon.instances(WORKER), 240)
    assert len(amazon.instances(HEAD)) == 1
    laptop.run("ray", "down", "-y", "cluster/gpu.yaml")
    assert not amazon.instances()
    laptop.step("ray down")

    may = {"DescribeInstances", "RunInstances", "CreateTags", "TerminateInstances"}
    assert {action for role, action, _ in amazon.calls if role == HEAD} == {f"ec2:{a}" for a in may} | {"iam:PassRole"}
    assert all(allowed for _, _, allowed in amazon.calls)
    assert not [call for call in amazon.calls if call[0] == WORKER], "workers have no business with EC2"
    roles_cannot_do_more(amazon)
    the_same_numbers(laptop, alone, bucket, tmp_path)


def hosts_root() -> Path:
    return Path(__file__).parents[2]


def attempts() -> str:
    """On the head itself, where the network keeps nobody off: a driver and a worker without the token; the owner."""
    driver = "python -c 'import ray; ray.init(\"auto\")'"
    worker = "ray start --address=$(hostname -i):6379 --num-cpus=1"
    tried = [
        f"(if {way} timeout 60 {what} >/dev/null 2>&1; then echo CAME IN: {name}; else echo STAYED OUT: {name}; fi) &"
        for name, way, what in (
            ("driver without", "RAY_AUTH_MODE=disabled", driver),
            ("driver with another", "RAY_AUTH_TOKEN=wrong", driver),
            ("worker without", "RAY_AUTH_MODE=disabled", worker),
            ("the owner", "RAY_AUTH_MODE=token", driver),
        )
    ]
    return " ".join([*tried, "wait"])


def only_the_owner_comes_in(said: str) -> None:
    found = {name: what for what, name in re.findall(r"^(CAME IN|STAYED OUT): ([a-z ]+)\r?$", said, flags=re.M)}
    out = "STAYED OUT"
    assert found == {
        "driver without": out,
        "driver with another": out,
        "worker without": out,
        "the owner": "CAME IN",
    }, said


def roles_cannot_do_more(amazon: Any) -> None:
    from botocore.exceptions import ClientError

    image = amazon.client("ec2").describe_images()["Images"][0]["ImageId"]
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "ray-cluster-name", "Value": "vaetune"}]}]
    start = {"ImageId": image, "MinCount": 1, "MaxCount": 1, "TagSpecifications": tags}
    attempts: list[Callable[[], Any]] = [
        lambda: amazon.client("ec2", amazon.keys(WORKER)).describe_instances(),
        lambda: amazon.client("ec2", amazon.keys(HEAD)).run_instances(InstanceType="p5.48xlarge", **start),
        lambda: amazon.client("ec2", amazon.keys(HEAD)).run_instances(
            InstanceType="g5.12xlarge", IamInstanceProfile={"Name": HEAD}, **start
        ),
        lambda: amazon.client("ec2", amazon.keys(HEAD)).terminate_instances(InstanceIds=["i-0123456789abcdef0"]),
        lambda: amazon.client("ec2", amazon.keys(HEAD)).describe_images(),
    ]
    for attempt in attempts:
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            attempt()


def on_one_machine(bucket: Bucket, folder: Path) -> tuple[str, ...]:
    """The command that trains and measures the replicates of the execution again, here, from its ledger alone."""
    run = bucket.fetch(folder)
    execution = folder / "small" / run
    for name in ("replicates", "predictions", "battery"):
        subprocess.run(["rm", "-rf", str(execution / "tables" / name)], check=True)
    subprocess.run(f"rm -rf {execution}/report {execution}/checkpoints/*-rep*", shell=True, check=True)
    for part in (execution / "tables/ledger").iterdir():
        rows = parquet.read_table(part, partitioning=None)
        kept = rows.filter(compute.field("phase") != "replicate")
        part.unlink()
        if len(kept):
            parquet.write_table(kept, part)
    return run_study(STUDY, "--storage", str(folder), "--resume", run)


def the_same_numbers(laptop: Any, alone: subprocess.Popen[str], bucket: Bucket, folder: Path) -> None:
    """The replicates that were trained on the cluster and those of the same configurations on one machine."""
    from vaetune.storage import Storage
    from vaetune.tables import Tables

    ends(laptop, alone, "alone")
    run = bucket.fetch(folder / "cluster")
    found = []
    for place in ("cluster", "alone"):
        tables = Tables(Storage(folder / place / "small" / run))
        rows = tables.read("replicates").set_index("replicate_id").sort_index().drop(columns="seconds")
        found.append((rows, tables.read("predictions").sort_values(["replicate_id", "evaluation", "example"])))
    (rows, predictions), (rows_alone, predictions_alone) = found
    assert len(rows) == 4
    pd.testing.assert_frame_equal(rows, rows_alone, check_exact=True)
    pd.testing.assert_frame_equal(
        predictions.reset_index(drop=True), predictions_alone.reset_index(drop=True), check_exact=True
    )


def test_onprem_yaml_on_three_machines(s3: Any, laptop: Any) -> None:
    addresses = ["192.0.2.10", "192.0.2.11", "192.0.2.12"]
    laptop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(laptop.home / ".ssh/vaetune"))
    hosts.move_home(laptop.home)
    pair = KEYS[WORKER]
    laptop.write(".aws/credentials", "[default]\n" + "".join(f"{k.lower()} = {v}\n" for k, v in pair.items()))
    environment = {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_REGION": "us-east-1", **SHARED}
    key = laptop.log(".ssh/vaetune.pub").strip()
    machines = {a: hosts.Host(f"machine-{a[-2:]}", [f"{a}/24"], key, environment) for a in addresses}
    try:
        up = ("ray", "up", "-y", "cluster/onprem.yaml")
        laptop.run(*up, RAY_UP_enable_autoscaler_v2="0")
        laptop.step("ray up")
        joined = f"until ray status | grep -q '/{2 * (os.cpu_count() or 1)}.0 CPU'; do sleep 1; done"
        laptop.run("ray", "exec", "cluster/onprem.yaml", joined)
        laptop.step("workers joined")
        laptop.run("ray", "rsync-up", "cluster/onprem.yaml", STUDY, "/home/ubuntu/vaetune/small.py")
        command = (
            f"cd ~/vaetune && python -m vaetune.study small.py --address auto --storage s3://{BUCKET}/onprem "
            "--tracking-uri none"
        )
        study = laptop.start("ray", "exec", "cluster/onprem.yaml", command, log="study")
        bucket = Bucket(s3, "onprem/")

        def power_cut() -> None:
            """Where something is trained."""
            busy = [
                m for a, m in machines.items() if a != addresses[0] and any("Trainable" in p for p in m.processes())
            ]
            busy[0].power_off()

        loses_a_machine(laptop, bucket, study, power_cut)
        ends(laptop, study, "study")
        assert "it goes on from its last checkpoint" in laptop.log("study")
        assert "report: s3://" in laptop.log("study")
        laptop.run("ray", "down", "-y", "cluster/onprem.yaml", RAY_UP_enable_autoscaler_v2="0")
        laptop.step("ray down")
    finally:
        for machine in machines.values():
            machine.power_off()
