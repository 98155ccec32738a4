from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import vaetune
from vaetune.study.__main__ import main
from vaetune.study.load import Loaded
from vaetune.study.options import PHASES, Options, tracking_uri

HEAVY = ("torch", "ray", "optuna", "mlflow", "pandas", "pyarrow", "scipy", "sklearn")
FILE = '''"""A demonstration."""
from vaetune.study import Arm, Comparison, Study

def shared(trial):
    return {"training.epochs": trial.suggest_categorical("epochs", [15, 30])}

ARMS = (Arm(name="plain", summary=""), Arm(name="svae", summary="", overrides={"model.bottleneck": "gaussian"}))
CONTRAST = Comparison(name="svae - plain", question="does it help?", weights=(("svae", 1.0), ("plain", -1.0)))
STUDY = Study(name="demo", hypothesis="It helps.", arms=ARMS, comparisons=(CONTRAST,), space=shared)
PRESETS = {"default": STUDY, "quick": STUDY}
'''

Calls = list[tuple[Loaded, Any, Options]]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "studies").mkdir()
    (folder / "studies" / "demo.py").write_text(FILE)
    return folder


@pytest.fixture
def calls(here: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls of the runner, which is replaced by one that returns 7."""
    seen: Calls = []

    def run(loaded: Loaded, study: Any, options: Options) -> int:
        seen.append((loaded, study, options))
        return 7

    monkeypatch.chdir(here)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(vaetune, "__file__", str(here / "elsewhere" / "vaetune" / "__init__.py"))
    replace(monkeypatch, "vaetune.study.runner", run=run)
    return seen


def replace(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Callable[..., Any]) -> None:
    module = ModuleType(name)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)


def test_a_run_gets_the_study_and_the_options(calls: Calls, here: Path) -> None:
    assert main(["demo"]) == 7
    loaded, study, options = calls[0]
    assert loaded.path == here / "studies" / "demo.py"
    assert (study.name, study.dataset.name) == ("demo", "fashion_mini")
    assert options == Options(tracking_uri=f"sqlite:///{here}/runs/mlflow.db")


def test_every_flag_arrives(calls: Calls) -> None:
    text = (
        "studies/demo.py --preset quick --dataset digits --set budget.trials=8 --set arms=plain --storage s3://b/p "
        "--tracking-uri http://x:5000 --address auto --resume 2026 --phase report --seed -3 --reproducible "
        "--tensorboard --data-root /d --download"
    )
    assert main(text.split()) == 7
    _, study, options = calls[0]
    assert (study.dataset.name, study.budget.trials, [a.name for a in study.arms]) == ("digits", 8, ["plain"])
    assert options == Options(
        preset="quick",
        storage="s3://b/p",
        tracking_uri="http://x:5000",
        address="auto",
        resume="2026",
        phase="report",
        seed=-3,
        reproducible=True,
        tensorboard=True,
        data_root="/d",
        download=True,
    )


def test_a_run_is_extended(calls: Calls) -> None:
    assert main(["demo", "--extend", "2026", "--set", "replication.extra_epochs=20"]) == 7
    _, study, options = calls[0]
    assert (study.replication.extra_epochs, options.extend, options.resume) == (20, "2026", None)


def test_notes_go_to_standard_error(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--set", "arms=plain"]) == 7
    assert "vaetune: note: comparison 'svae - plain' is dropped: it needs the arms svae" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("dmo", "unknown study 'dmo': did you mean 'demo'?"),
        ("", "which study?"),
        ("demo other", "unexpected argument 'other'"),
        ("demo --preset quik", "'quik': did you mean 'quick'?"),
        ("demo --presett quick", "unknown option '--presett': did you mean '--preset'"),
        ("--presett quick demo", "unknown option '--presett'"),
        ("demo --plam", "did you mean '--plan'"),
        ("demo --pl", "unknown option '--pl'"),
        ("demo --stoarge=x", "unknown option '--stoarge': did you mean '--storage'"),
        ("demo -plan", "did you mean '--plan'"),
        ("demo --plan=1", "argument --plan: ignored explicit argument '1'"),
        ("demo --set", "argument --set: expected one argument"),
        ("demo --seed one", "argument --seed: invalid int value: 'one'"),
        ("demo --phase serch", "unknown phase 'serch': did you mean 'search'"),
        ("demo --set arms=plane", "unknown arm 'plane': did you mean 'plain'?"),
        ("demo --set training.epochs=3", "the search space of arm 'plain' draws it"),
        ("demo --dataset fashion_minni", "did you mean 'fashion_mini'"),
        ("demo --dataset=", "unknown dataset ''"),
        ("demo --dataset digits --set dataset.name=mnist", "--set dataset.name is given twice"),
        ("demo --set replication.n=5", "--set replication.n=6"),
    ],
)
def test_mistakes_exit_with_2_and_one_message(
    calls: Calls, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vaetune: ")
    assert message in err
    assert err.count("\n") == 1
    assert calls == []


def test_a_broken_study_file_exits_with_2_and_its_line(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text("x = 1\n1 / 0\n")
    assert main([str(tmp_path / "own.py")]) == 2
    assert capsys.readouterr().err == f"vaetune: {tmp_path}/own.py:2: ZeroDivisionError: division by zero\n"


def test_other_errors_are_not_hidden(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> int:
        raise RuntimeError("a defect")

    replace(monkeypatch, "vaetune.study.runner", run=broken)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["demo"])


def test_help_names_every_phase(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert ", ".join(PHASES) in out
    assert "--tracking-uri" in out


def test_list_is_plain_and_keeps_the_broken_file(calls: Calls, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = here / "studies" / "broken.py"
    broken.write_text("1 / 0\n")
    try:
        assert main(["list"]) == 0
    finally:
        broken.unlink()
    assert capsys.readouterr().out.splitlines() == [
        "study\tpresets\tarms\thypothesis\tfile",
        "broken\t\t\tstudies/broken.py:1: ZeroDivisionError: division by zero\tstudies/broken.py",
        "demo\tdefault, quick\t2\tIt helps.\tstudies/demo.py",
    ]


def test_list_is_a_table_on_a_terminal(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "│ demo" in out
    assert "\t" not in out


def test_list_without_studies_says_so(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["list"]) == 2
    assert "no studies" in capsys.readouterr().err


def test_plan_prints_the_checks_before_it_measures(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    def seconds_per_epoch(study: Any, arm: Any, data: Any, n_train: int) -> float:
        printed.append(capsys.readouterr().out)
        assert (data.name, n_train) == ("digits", 437)
        return 1.0

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    replace(
        monkeypatch,
        "vaetune.study.estimate",
        seconds_per_epoch=seconds_per_epoch,
        parameters=lambda data: lambda config: 1000,
    )
    assert main(["demo", "--plan", "--dataset", "digits"]) == 0
    assert "checks passed" in printed[0]
    assert "plain\t1\t16" in printed[0]
    estimate = capsys.readouterr().out
    assert "plain\t1.000" in estimate
    assert "with 2 trials at a time" in estimate
    assert calls == []


def test_plan_of_a_study_that_fails_its_checks_measures_nothing(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(monkeypatch, "vaetune.study.estimate")
    assert main(["demo", "--plan", "--set", "budget.top_k=17"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "budget.top_k = 17 is more than budget.trials" in err


@pytest.mark.parametrize(
    ("given", "storage", "environment", "expected"),
    [
        (None, "/data/runs", {}, "sqlite:////data/runs/mlflow.db"),
        (None, "s3://b/p", {}, f"sqlite:///{Path('runs').absolute()}/mlflow.db"),
        (None, "/data", {"MLFLOW_TRACKING_URI": "http://e"}, "http://e"),
        (None, "/data", {"MLFLOW_TRACKING_URI": ""}, "sqlite:////data/mlflow.db"),
        ("http://g", "/data", {"MLFLOW_TRACKING_URI": "http://e"}, "http://g"),
        ("none", "/data", {"MLFLOW_TRACKING_URI": "http://e"}, None),
        (None, "/data", {"MLFLOW_TRACKING_URI": "None"}, None),
    ],
)
def test_tracking_uri(given: str | None, storage: str, environment: dict[str, str], expected: str | None) -> None:
    assert tracking_uri(given, storage, environment) == expected


FLAGS = [
    *("--preset", "--dataset", "--set", "--storage", "--tracking-uri", "--address", "--resume", "--phase"),
    *(
        "--extend",
        "--seed",
        "--reproducible",
        "--tensorboard",
        "--data-root",
        "--download",
        "--",
        "-",
        "-x",
        "--no-such",
    ),
]
VALUES = [
    "demo",
    "list",
    "quick",
    "none",
    "search",
    "arms=plain",
    "budget.trials=8",
    "margin=-1",
    "studies/demo.py",
    "3",
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(FLAGS + VALUES) | st.text(max_size=8), max_size=6))
@example(["\0"])
@example(["a\0.py"])
@example(["x" * 5000 + ".py"])
@example(["demo", "--seed", "9" * 5000])
def test_any_argument_list_runs_or_exits_with_2(
    calls: Calls, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    calls.clear()
    if any(a.startswith("-") and a in ("-h", "--help") for a in arguments):
        return
    code = main(arguments)
    err = capsys.readouterr().err
    assert code in (0, 2, 7)
    assert (code == 7) == bool(calls)
    assert (code == 2) == any(line.startswith("vaetune: ") and "note:" not in line for line in err.splitlines())


def imported(code: str, cwd: Path, heavy: Sequence[str] = HEAVY) -> set[str]:
    """The heavy modules in sys.modules after that code has run in a process of its own."""
    script = f"{code}\nimport sys\nprint('HEAVY', *(m for m in {heavy!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "module", ["load", "space", "plan", "checks", "settings", "validate", "limits", "options", "__main__"]
)
def test_importing_a_module_imports_nothing_heavy(here: Path, module: str) -> None:
    assert imported(f"import vaetune.study.{module}", here) == set()


@pytest.mark.parametrize(
    "arguments", [["list"], ["--help"], ["demo", "--plan"], ["demo", "--plan", "--set", "margin=0"], ["dmo"]]
)
def test_what_comes_before_a_run_imports_nothing_heavy(here: Path, arguments: list[str]) -> None:
    """`--plan` is stopped where it would begin to measure, which is after its checks have been printed."""
    stop = (
        "import sys, types, vaetune.study.plan as plan\n"
        "class Stop(Exception): pass\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'vaetune.study.estimate': raise Stop\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from vaetune.study.__main__ import main\n"
        f"try: main({arguments!r})\n"
        "except (Stop, SystemExit): pass\n"
    )
    assert imported(stop, here) == set()


def test_a_worker_that_trains_imports_torch_and_nothing_heavier() -> None:
    """Optuna lies beside Tune in the driver; SymPy is what torch itself brings for some ways to call it."""
    trained = (
        "import warm, vaetune.study.evaluate, vaetune.study.trainable\n"
        "from vaetune.datasets import open_dataset\n"
        "from vaetune.study.estimate import seconds_per_epoch\n"
        "assert seconds_per_epoch(warm.STUDY, warm.STUDY.arms[0], open_dataset('digits', None, False), 200) > 0\n"
    )
    unwanted = ("torchvision", "torchmetrics", "mlflow", "plotly", "optuna", "sklearn", "sympy")
    assert imported(trained, Path(__file__).parent, unwanted) == set()
    assert imported(trained + "import sympy", Path(__file__).parent, unwanted) == {"sympy"}


def test_the_import_test_would_notice(here: Path) -> None:
    assert "pyarrow" in imported("import vaetune.study.plan, pyarrow", here)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (b"dmo", b"vaetune: unknown study 'dmo': did you mean 'demo'?\n"),
        (b"nowhere/\xff.py", b"vaetune: there is no study file nowhere/\\udcff.py\n"),  # no text in any encoding
    ],
)
def test_the_module_runs_as_a_script(here: Path, argument: bytes, message: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vaetune.study", argument], cwd=here, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", message)


def test_submitting_to_what_is_no_dashboard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["regularizer_ablation", "--submit", "127.0.0.1:8265"]) == 2
    assert "--submit 127.0.0.1:8265: give a Ray dashboard's address" in capsys.readouterr().err
