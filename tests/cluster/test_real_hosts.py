"""`cluster/gpu.yaml` and `cluster/onprem.yaml`, unmodified, on hosts that boot, are reached over SSH and lose power."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hosts
import losses
import pandas as pd
import pytest
from bucket import BUCKET, HEAD, KEYS, OWNER, WORKER, Bucket
from laptop import DASHBOARD, ROOT, status
from laptop import study as run_study
from pyarrow import compute, parquet

from vaetune.storage import Storage
from vaetune.tables import Tables

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    # moto reads every other part of the stack
    pytest.mark.filterwarnings("ignore:Tried to parse AWS..S3..BucketPolicy"),
]

STUDY = "tests/cluster/small.py"
MEASURED = ("replicates", "predictions", "battery")


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


def ends(laptop: Any, study: subprocess.Popen[str], log: str) -> None:
    assert study.wait(900) == 0, laptop.log(log)[-6000:]
    laptop.step(f"{log} finished")


def test_gpu_yaml_on_a_small_ec2(amazon: Any, s3: Any, laptop: Any, tmp_path: Path) -> None:
    from amazon import ENDPOINT, REGION

    laptop.environment |= {**OWNER, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": ENDPOINT}
    template = (ROOT / "cluster/aws-stack.yaml").read_text()
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
    laptop.run("ray", "rsync-up", "cluster/gpu.yaml", "tests/cluster/strangers.py", "/tmp/strangers.py")
    strangers = laptop.start("ray", "exec", "cluster/gpu.yaml", attempts(), log="strangers")

    where = ("--submit", DASHBOARD, "--storage", f"s3://{BUCKET}/runs")
    said = laptop.run(*run_study(STUDY, *where, "--set", "resources.gpus=8"), ok=False, timeout=60)
    assert "a trial asks for 1 CPU, 8 GPU, and no machine has that" in said
    assert "up to 4 of 48 CPU, 4 GPU could be started" in said
    laptop.step("too much refused")
    assert laptop.steps["too much refused"] < 30
    assert not amazon.instances(WORKER)

    bucket = Bucket(s3.endpoint, "runs/", tmp_path / "tables")
    study = laptop.start(*run_study(STUDY, *where, "--set", "resources.gpus=1"), log="study")
    assert strangers.wait(120) == 0
    only_the_owner_comes_in(laptop.log("strangers"))
    nothing_else_is_open(laptop.log("strangers"))
    laptop.wait("worker started", lambda: amazon.instances(WORKER), 120, study)
    laptop.wait("first trials trained", lambda: any("/tables/history/" in key for key in bucket.listed()), 240, study)

    ids = {instance.id for instance in amazon.instances(WORKER)}
    loss = losses.lose(laptop, bucket, study, lambda: amazon.terminate(ids))
    laptop.wait("replaced", lambda: {i.id for i in amazon.instances(WORKER)} - ids, 120, study)
    losses.restored(laptop, bucket, study, loss)
    ends(laptop, study, "study")
    execution = bucket.fetch(tmp_path / "cluster")
    cost_little(laptop, execution, loss)

    # Ten minutes are not waited for: the head's copy of the file is shortened, and its autoscaler reads it again.
    shorter = 'sed -i \'s/"idle_timeout_minutes": 10/"idle_timeout_minutes": 0.05/\' ~/ray_bootstrap_config.yaml'
    laptop.run("ray", "exec", "cluster/gpu.yaml", shorter)
    alone = laptop.start(*on_one_machine(execution, tmp_path / "alone"), log="alone", TMPDIR="/tmp")
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
    ends(laptop, alone, "alone")
    the_same_numbers(execution, tmp_path / "alone/small" / execution.name)


def cost_little(laptop: Any, execution: Path, loss: losses.Loss) -> None:
    """Trials went on from their checkpoints; prints what each of them lost."""
    said = laptop.log("study")
    lost = losses.cost(execution, loss)
    assert lost, said[-3000:]
    for member, (epochs, seconds) in lost.items():
        laptop.say(f"           {member} lost {seconds:.1f} s of training; {epochs} epochs were told twice")
        assert seconds <= losses.ALLOWED_S
    assert "it goes on from its last checkpoint" in said


def attempts() -> str:
    """On the head itself, where the network keeps nobody off: a driver and a worker without the token; the owner."""
    driver = "python -c 'import ray; ray.init(\"auto\")'"
    client = driver.replace("auto", "ray://localhost:10001")
    worker = "ray start --address=$(hostname -i):6379 --num-cpus=1"
    tried = [
        f"(if {way} timeout 60 {what} >/dev/null 2>&1; then echo CAME IN: {name}; else echo STAYED OUT: {name}; fi) &"
        for name, way, what in (
            ("driver without", "RAY_AUTH_MODE=disabled", driver),
            ("driver with another", "RAY_AUTH_TOKEN=wrong", driver),
            ("client without", "RAY_AUTH_MODE=disabled", client),
            ("worker without", "RAY_AUTH_MODE=disabled", worker),
            ("the owner", "RAY_AUTH_MODE=token", driver),
        )
    ]
    return " ".join([*tried, "python /tmp/strangers.py; wait"])


def only_the_owner_comes_in(said: str) -> None:
    found = {name: what for what, name in re.findall(r"^(CAME IN|STAYED OUT): ([a-z ]+)\r?$", said, flags=re.M)}
    out = "STAYED OUT"
    assert found == {
        "driver without": out,
        "driver with another": out,
        "client without": out,
        "worker without": out,
        "the owner": "CAME IN",
    }, said


def nothing_else_is_open(said: str) -> None:
    """What answers on the head without a token is in the README: the page, health, and figures for Prometheus."""
    pages: dict[int, set[str]] = {}
    for port, path, first in re.findall(r"^OPEN (\d+) (\S+) ([^\r\n]*)", said, flags=re.M):
        if not first.startswith("# HELP"):
            pages.setdefault(int(port), set()).add(path)
    assert pages == {
        8265: {"/", "/api/authentication_mode", "/api/gcs_healthz"},
        52365: {"/api/healthz", "/api/local_raylet_healthz"},
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
        lambda: amazon.client("ec2", amazon.keys(HEAD)).run_instances(
            InstanceType="g5.12xlarge", IamInstanceProfile={"Name": WORKER}, SecurityGroupIds=["sg-1"], **start
        ),
        lambda: amazon.client("ec2", amazon.keys(HEAD)).terminate_instances(InstanceIds=["i-0123456789abcdef0"]),
        lambda: amazon.client("ec2", amazon.keys(HEAD)).describe_images(),
    ]
    for attempt in attempts:
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            attempt()


def on_one_machine(cluster: Path, folder: Path) -> tuple[str, ...]:
    """The command that trains and measures the replicates of an execution again, in a copy of it without them."""
    execution = folder / "small" / cluster.name
    shutil.copytree(cluster, execution)
    gone = [*execution.glob("checkpoints/*-rep*"), execution / "report"]
    gone += [execution / "tables" / name for name in MEASURED]
    for each in gone:
        shutil.rmtree(each)
    for part in (execution / "tables/ledger").iterdir():
        rows = parquet.read_table(part, partitioning=None)
        kept = rows.filter(compute.field("phase") != "replicate")
        part.unlink()
        if len(kept):
            parquet.write_table(kept, part)
    return run_study(STUDY, "--storage", str(folder), "--resume", cluster.name)


def the_same_numbers(cluster: Path, alone: Path) -> None:
    """The replicates that were trained on the cluster and those of the same configurations on one machine."""
    there, here = Tables(Storage(cluster)), Tables(Storage(alone))
    for name in MEASURED:
        one, two = (tables.read(name).drop(columns="seconds", errors="ignore") for tables in (there, here))
        order = [column for column in ("replicate_id", "evaluation", "example", "metric", "x") if column in one]
        one, two = (rows.sort_values(order, ignore_index=True) for rows in (one, two))
        pd.testing.assert_frame_equal(one, two, check_exact=True)
    replicates, ended = there.read("replicates")["replicate_id"], {t: t.read("ledger")["ended"] for t in (there, here)}
    assert len(replicates) == 4
    assert (~ended[here].isin(ended[there])).sum() == 4, "they were trained again"
    again = here.read("history").duplicated(["member_id", "epoch", "metric"])
    assert not again.any(), "an epoch that has other numbers is written down again"
    for id in replicates:
        weights = f"checkpoints/{id}/weights.safetensors"
        assert (cluster / weights).read_bytes() == (alone / weights).read_bytes()


def test_onprem_yaml_on_three_machines(s3: Any, laptop: Any, tmp_path: Path) -> None:
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
        bucket = Bucket(s3.endpoint, "onprem/", tmp_path / "tables")

        def power_cut() -> None:
            """Where something is trained."""
            busy = [
                m for a, m in machines.items() if a != addresses[0] and any("Trainable" in p for p in m.processes())
            ]
            busy[0].power_off()

        loss = losses.lose(laptop, bucket, study, power_cut)
        losses.restored(laptop, bucket, study, loss)
        ends(laptop, study, "study")
        cost_little(laptop, bucket.fetch(tmp_path / "cluster"), loss)
        assert "report: s3://" in laptop.log("study")
        laptop.run("ray", "down", "-y", "cluster/onprem.yaml", RAY_UP_enable_autoscaler_v2="0")
        laptop.step("ray down")
    finally:
        for machine in machines.values():
            machine.power_off()
