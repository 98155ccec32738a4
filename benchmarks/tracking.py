"""What tracking adds to a study: 200 trials of 30 epochs, on and off in turn, against a real server on PostgreSQL.

    python -m benchmarks.tracking                 two pairs; each of their four runs takes some minutes on a quiet core
    python -m benchmarks.tracking --trials 20 --pairs 1

Trials are short, 1,000 images, so that what tracking costs weighs much. The server runs on the last core and the study
on the others, in both cases: a team's server is another machine. The figure is the wall time of the whole command, from
its start to its exit, everything delivered. Beside it stands the CPU time of the driver, in which all of tracking runs:
other processes disturb that less.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUDY = '''
"""One arm, all of whose trials run to their end."""

from vaetune.study import Arm, Budget, DatasetConfig, Replication, Study, SupervisedVAEConfig


def space(trial):
    return {
        "training.learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "training.epochs": trial.suggest_categorical("epochs", (30,)),
    }


STUDY = Study(
    name="tracked",
    hypothesis="Tracking costs nothing.",
    arms=(Arm(name="svae", summary="the variational layer", overrides={"model.bottleneck": "gaussian"}),),
    dataset=DatasetConfig(name="fashion_mini", n_train=1000, n_validation=1000),
    model=SupervisedVAEConfig(trunk=(256, 256), latents=64),
    space=space,
    budget=Budget(trials=TRIALS, audit=TRIALS, grace=3, reduction=3, top_k=1, reseeds=1),
    replication=Replication(n=8),
    margin=1.0,
)
'''


@contextmanager
def server(cores: set[int]) -> Iterator[str]:
    """`cluster/tracking/serve.py` on these cores; its address."""
    folder = Path(tempfile.mkdtemp(prefix="vaetune-"))
    folder.chmod(0o755)  # the user postgres must get through
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
    command = [sys.executable, str(ROOT / "cluster/tracking/serve.py"), "run", "--data", str(folder)]
    command += ["--port", str(ports[0]), "--health-port", str(ports[1]), "--workers", "1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    os.sched_setaffinity(process.pid, cores)
    try:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("ready"):
            raise RuntimeError((folder / "log").read_text()[-2000:])
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        process.terminate()
        process.wait(60)


def seconds(study: Path, storage: Path, uri: str, cores: set[int]) -> tuple[float, float]:
    """Wall time of the study's search, and CPU time of its driver, Ray and workers aside."""
    command = [sys.executable, "-m", "vaetune.study", str(study), "--phase", "search", "--storage", str(storage)]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        driver = subprocess.Popen(
            [*command, "--tracking-uri", uri],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its figures are still there
        wall, cpu = time.monotonic() - started, own_cpu(driver.pid)
        out.seek(0)
        if driver.wait():
            raise RuntimeError(out.read())
        if "not all is in MLflow" in out.read():
            raise RuntimeError("not everything was delivered: the figure would be too good")
    return wall, cpu


def own_cpu(pid: int) -> float:
    """CPU seconds of a process without its children."""
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Prints each pair and the median of what tracking added, in per cent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=2)
    arguments = parser.parse_args()
    cores = os.sched_getaffinity(0)
    theirs = {max(cores)}
    ours = cores - theirs or cores
    added = []
    with tempfile.TemporaryDirectory() as folder, server(theirs) as uri:
        study = Path(folder, "tracked.py")
        study.write_text(STUDY.replace("TRIALS", str(arguments.trials)))
        for pair in range(arguments.pairs):
            wall, cpu = {}, {}
            for name in ("off", "on") if pair % 2 == 0 else ("on", "off"):
                address = "none" if name == "off" else uri
                wall[name], cpu[name] = seconds(study, Path(folder, f"{pair}-{name}"), address, ours)
            added.append(100 * (wall["on"] / wall["off"] - 1))
            figures = {**wall, "added %": added[-1], "driver CPU off": cpu["off"], "driver CPU on": cpu["on"]}
            print(
                json.dumps({"pair": pair, **{name: round(figure, 1) for name, figure in figures.items()}}), flush=True
            )
    print(f"median added: {statistics.median(added):.1f} % ({os.getloadavg()[0]:.1f} load at the end)")


if __name__ == "__main__":
    main()
