"""What tracking adds to a study: 200 trials of 30 epochs, on and off in turn, against a real server on PostgreSQL.

    python -m benchmarks.tracking                 two pairs, of some minutes
    python -m benchmarks.tracking --trials 20 --pairs 1

The server runs on the last core and the study on the others, in both cases: a team's server is another machine. The
figure is the wall time of the whole command, from its start to its exit, everything delivered.
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
    dataset=DatasetConfig(name="fashion_mini", n_validation=1000),
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


def seconds(study: Path, storage: Path, uri: str, cores: set[int]) -> float:
    """Wall time of the study's search."""
    command = [sys.executable, "-m", "vaetune.study", str(study), "--phase", "search", "--storage", str(storage)]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--tracking-uri", uri],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    if "not all is in MLflow" in done.stdout:
        raise RuntimeError("not everything was delivered: the figure would be too good")
    return time.monotonic() - started


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
            wall = {}
            for name in ("off", "on") if pair % 2 == 0 else ("on", "off"):
                address = "none" if name == "off" else uri
                wall[name] = seconds(study, Path(folder, f"{pair}-{name}"), address, ours)
            added.append(100 * (wall["on"] / wall["off"] - 1))
            print(
                json.dumps({"pair": pair, **{k: round(v, 1) for k, v in wall.items()}, "added %": round(added[-1], 1)})
            )
    print(f"median added: {statistics.median(added):.1f} % ({os.getloadavg()[0]:.1f} load at the end)")


if __name__ == "__main__":
    main()
