"""Whole studies in processes of their own, on real Ray and real MLflow: what a user does, and what is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vaetune.storage import Storage
from vaetune.tables import Tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
VOLATILE = ["seconds", "started", "ended", "group_id"]
"""How large a group is depends on what was measured, see `training.autotune`; what its members come to does not."""

MICRO = textwrap.dedent(
    '''
    """Two names of one arm, and a third with seeds of its own: an A/A study."""

    from vaetune.study import Arm, Budget, Comparison, DatasetConfig, Replication, Study, SupervisedVAEConfig


    def shared(trial):
        return {
            "training.learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True),
            "training.epochs": trial.suggest_categorical("epochs", (4, 6)),
        }


    def beta(trial):
        return {"model.beta": trial.suggest_float("beta", 1e-4, 1e-2, log=True)}


    GAUSSIAN = {"model.bottleneck": "gaussian"}
    STUDY = Study(
        name="micro",
        hypothesis="An arm equals itself.",
        arms=(
            Arm(name="one", summary="the arm", overrides=GAUSSIAN, space=beta),
            Arm(name="twin", summary="the arm with the same seeds", overrides=GAUSSIAN, space=beta, stream="one"),
            Arm(
                name="other",
                summary="the arm with seeds of its own in search and replication",
                overrides=GAUSSIAN,
                space=beta,
                replicate_stream="other",
            ),
        ),
        comparisons=(
            Comparison(name="one − twin", question="Is it itself?", weights=(("one", 1), ("twin", -1))),
            Comparison(name="one − other", question="Still?", weights=(("one", 1), ("other", -1))),
        ),
        dataset=DatasetConfig(name="digits", n_validation=300),
        model=SupervisedVAEConfig(trunk=(32,), latents=8),
        space=shared,
        budget=Budget(trials=4, audit=2, grace=2, reduction=2, top_k=2, reseeds=2),
        replication=Replication(n=8, samples=2),
        margin=2.0,
    )
    '''
)


def vaetune(*arguments: str, wait: float = 400, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vaetune.study", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=wait, check=False, **options)  # type: ignore[call-overload,no-any-return]


def only_run(storage: Path, study: str) -> Path:
    (run,) = (storage / study).iterdir()
    return run


def tables(run: Path) -> Tables:
    return Tables(Storage(run))


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outside") / "micro.py"
    path.write_text(MICRO)
    return path


@pytest.fixture(scope="module")
def finished(micro: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run of the micro study."""
    storage = tmp_path_factory.mktemp("finished")
    done = vaetune(str(micro), "--storage", str(storage), "--tracking-uri", "none", "--reproducible", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    return only_run(storage, "micro")


def same(a: Path, b: Path, table: str, key: str) -> None:
    left, right = (tables(run).read(table).drop(columns=VOLATILE, errors="ignore") for run in (a, b))
    order = [key, *[c for c in ("epoch", "metric", "evaluation", "example") if c in left]]
    left, right = (frame.sort_values(order, ignore_index=True) for frame in (left, right))
    pd.testing.assert_frame_equal(
        left.drop(columns="time", errors="ignore"), right.drop(columns="time", errors="ignore")
    )


def test_the_smoke_preset_from_nothing_to_a_report(tmp_path: Path) -> None:
    done = vaetune("regularizer_ablation", "--preset", "smoke", "--storage", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout  # no terminal, no escape codes
    study = tmp_path / "regularizer_ablation"
    run = only_run(tmp_path, "regularizer_ablation")
    record = json.loads((run / "study.json").read_text())
    arms = [arm["name"] for arm in record["arms"]]
    assert len(arms) == 14
    ledger = tables(run).read("ledger")
    spent = ledger[ledger["phase"] == "search"].groupby("arm").size()
    assert spent.to_dict() == dict.fromkeys(arms, record["budget"]["trials"])  # equal budgets
    assert (ledger["outcome"] != "failed").all(), ledger[ledger["outcome"] == "failed"]["reason"].to_list()
    audit = ledger[ledger["slice"] == "audit"]
    assert (audit["outcome"] == "finished").all()
    assert (audit["epochs"] == audit["length"]).all()
    drawn = audit.assign(rate=audit["params"].map(lambda text: json.loads(text)["learning_rate"]))
    assert (drawn.groupby("number")["rate"].nunique() == 1).all()  # the same shared draws in every arm
    replicates = tables(run).read("replicates")
    assert replicates.groupby("arm").size().to_dict() == dict.fromkeys(arms, record["replication"]["n"])
    assert replicates["test/error"].between(0, 0.5).all()
    assert replicates.groupby("replicate")["seed"].nunique().eq(1).all()  # paired
    predictions = tables(run).read("predictions")
    means = predictions[predictions["evaluation"] == "mean"].groupby("replicate_id")["correct"].mean()
    errors = replicates.set_index("replicate_id")["test/error"]
    pd.testing.assert_series_equal((1 - means).sort_index(), errors.sort_index(), check_names=False, atol=1e-9)
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    top = record["budget"]["top_k"]
    assert len(kept) <= len(arms) * (record["replication"]["n"] + top)
    assert set(replicates["replicate_id"]) <= set(kept)
    report = (run / "report" / "report.html").read_text()
    assert all(comparison["name"] in report for comparison in record["comparisons"])
    assert "NaN" not in (run / "report" / "report.md").read_text()
    explorer = (run / "report" / "explorer.html").read_text()
    assert "svae_decoder-rep" in explorer
    assert "deterministic-rep" not in explorer  # only what decodes
    assert '<a href="explorer.html">' in report
    for name, page in (("report.html", report), ("explorer.html", explorer)):
        (copy,) = (tmp_path / "mlartifacts").rglob(f"report/{name}")
        assert copy.read_text() == page
    assert re.search(r"^evaluate: 112 members in 0:\d\d$", done.stdout, re.MULTILINE)
    assert done.stdout.index("evaluate: 112 members in") < done.stdout.index("explorer: ")
    assert (tmp_path / "mlflow.db").exists()
    tracked = tables(run).read("runs")
    assert len(tracked) == 1 + len(set(ledger["trial_id"]))
    assert [path.name for path in study.iterdir()] == [run.name]


def test_reproducible_runs_are_identical(micro: Path, finished: Path, tmp_path: Path) -> None:
    done = vaetune(str(micro), "--storage", str(tmp_path), "--tracking-uri", "none", "--reproducible", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    again = only_run(tmp_path, "micro")
    same(finished, again, "ledger", "trial_id")
    same(finished, again, "replicates", "replicate_id")
    same(finished, again, "history", "member_id")
    same(finished, again, "predictions", "replicate_id")


def test_an_arm_equals_itself(finished: Path) -> None:
    verdicts = pd.read_csv(finished / "report" / "comparisons.csv").set_index("comparison")
    assert verdicts.loc["one − twin", "verdict"] == "equivalent"
    assert verdicts.loc["one − twin", "difference"] == 0
    assert verdicts.loc["one − other", "verdict"] in ("equivalent", "undecided")
    assert verdicts.drop(columns="smallest detectable", errors="ignore").notna().all(axis=None)
    replicates = tables(finished).read("replicates").pivot(index="replicate", columns="arm", values="test/error")
    assert (replicates["one"] == replicates["twin"]).all()
    assert (replicates["one"] != replicates["other"]).any()


def test_the_verdicts_agree_with_an_independent_recomputation(finished: Path) -> None:
    """From the predictions alone, by scipy and nothing of ours."""
    shown = pd.read_csv(finished / "report" / "comparisons.csv").set_index("comparison")
    assert len(shown) == 2
    declared = {"one − twin": {"one": 1, "twin": -1}, "one − other": {"one": 1, "other": -1}}
    agree(shown, recompute(finished, declared, margin=0.02))


def test_the_verdicts_on_real_images_agree_with_an_independent_recomputation(tmp_path: Path) -> None:
    """All 10,000 test images of fashion_mini, the arms that the fixed comparisons need, a small network and budget."""
    arms = "deterministic,deterministic_wide,fixed_noise,compression_only,fixed_noise_penalty,svae"
    settings = [part for setting in (f"arms={arms}", "dataset.name=fashion_mini") for part in ("--set", setting)]
    where = ("--storage", str(tmp_path), "--tracking-uri", "none")
    done = vaetune("regularizer_ablation", "--preset", "smoke", *settings, *where)
    assert done.returncode == 0, done.stdout + done.stderr
    run = only_run(tmp_path, "regularizer_ablation")
    shown = pd.read_csv(run / "report" / "comparisons.csv").set_index("comparison")
    declared: dict[str, dict[str, float]] = {
        f"svae − {other}": {"svae": 1, other: -1}
        for other in ("deterministic_wide", "compression_only", "fixed_noise_penalty")
    }
    declared["noise × penalty"] = {
        "fixed_noise_penalty": 1, "fixed_noise": -1, "compression_only": -1, "deterministic": 1
    }  # fmt: skip
    assert len(shown) == len(declared)
    agree(shown, recompute(run, declared, margin=0.01))


def agree(shown: pd.DataFrame, recomputed: dict[str, tuple[float, float, float, str]]) -> None:
    for name, row in recomputed.items():
        assert shown.loc[name, ["difference", "se", "df"]].tolist() == pytest.approx(row[:3])
        assert shown.loc[name, "verdict"] == row[3]


def recompute(
    run: Path, declared: dict[str, dict[str, float]], margin: float
) -> dict[str, tuple[float, float, float, str]]:
    """Difference, standard error, degrees of freedom and verdict of each contrast of arms."""
    table = tables(run).read("predictions").query("evaluation == 'mean'")
    wrong = 1.0 - table.pivot(index="replicate_id", columns="example", values="correct").astype(float)
    found: dict[str, tuple[float, float, float]] = {}
    tests: dict[str, tuple[float, float]] = {}
    for name, weights in declared.items():
        d = sum(w * wrong.filter(regex=f"^{arm}-rep", axis=0).sort_index().to_numpy() for arm, w in weights.items())
        (n, m), rest = d.shape, d - d.mean(0) - d.mean(1, keepdims=True) + d.mean()
        ms = m * d.mean(1).var(ddof=1), n * d.mean(0).var(ddof=1), (rest**2).sum() / ((n - 1) * (m - 1))
        total = ms[0] + max(ms[1] - ms[2], 0)
        parts = ms[0] ** 2 / (n - 1) + (ms[1] ** 2 / (m - 1) + ms[2] ** 2 / ((n - 1) * (m - 1))) * (ms[1] > ms[2])
        df = n - 1 if total == 0 else max(total**2 / parts, n - 1)
        se = np.sqrt(total / (n * m))
        found[name] = float(d.mean()), float(se), float(df)
        t = (d.mean() / se, (margin - abs(d.mean())) / se) if se else (0.0, np.inf)
        tests[name] = float(2 * stats.t.sf(abs(t[0]), df)), float(stats.t.sf(t[1], df))
    differs, alike = (multipletests([p[i] for p in tests.values()], method="holm")[0] for i in (0, 1))
    words = {(False, False): "undecided", (False, True): "equivalent", (True, True): "different, negligibly"}
    return {
        name: (*found[name], words.get((bool(x), bool(y)), "better" if found[name][0] < 0 else "worse"))
        for name, x, y in zip(declared, differs, alike, strict=True)
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_study_is_resumed_to_the_same_tables(
    number: signal.Signals, micro: Path, finished: Path, tmp_path: Path
) -> None:
    arguments = [str(micro), "--storage", str(tmp_path), "--tracking-uri", "none", "--reproducible", "--seed", "3"]
    process = start(arguments)
    wait_for_parts(tmp_path / "micro", "ledger")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, out + err
    assert "Traceback" not in err
    run = only_run(tmp_path, "micro")
    (line,) = re.findall(r"^  (python -m vaetune.study .*)$", err, re.MULTILINE)
    assert line.endswith(f"--resume {run.name}")
    assert not (run / "report").exists()  # it was stopped, not finished
    done = vaetune(*line.split()[3:])
    assert done.returncode == 0, done.stdout + done.stderr
    same(finished, run, "ledger", "trial_id")
    same(finished, run, "replicates", "replicate_id")
    same(finished, run, "history", "member_id")


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vaetune.study", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ)
    )


def wait_for_parts(study: Path, table: str) -> None:
    deadline = time.monotonic() + 120
    while not list(study.glob(f"*/tables/{table}/part-*.parquet")):
        assert time.monotonic() < deadline, "nothing was written in two minutes"
        time.sleep(0.05)


def test_the_report_is_rebuilt_from_the_tables_alone(micro: Path, finished: Path) -> None:
    before = (finished / "report" / "report.md").read_text()
    (finished / "report" / "report.md").unlink()
    storage = finished.parents[1]
    arguments = [
        "--storage",
        str(storage),
        "--seed",
        "3",
        "--reproducible",
        "--resume",
        finished.name,
        "--phase",
        "report",
    ]
    code = (
        "import sys; from vaetune.study.__main__ import main; code = main(sys.argv[1:]); "
        "print([m for m in ('torch', 'ray', 'mlflow', 'optuna') if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(micro), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (finished / "report" / "report.md").read_text() == before


def test_a_run_of_another_study_is_not_resumed(micro: Path, finished: Path) -> None:
    storage = str(finished.parents[1])
    done = vaetune(str(micro), "--storage", storage, "--resume", finished.name, "--set", "margin=1.0")
    assert done.returncode == 2
    assert "margin" in done.stderr
    assert "Traceback" not in done.stderr
