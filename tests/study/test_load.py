from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

import vaetune
from vaetune.errors import UserError
from vaetune.study.load import available, find, load

OPEN = "STUDY = Study(name='s', hypothesis='', arms=ARMS, "
HEAD = "from vaetune.study import *\nARMS = (Arm(name='plain', summary=''),)\n"
GOOD = (
    HEAD
    + "PRESETS = {'default': Study(name='s', hypothesis='does it?', arms=ARMS)}\n"
    + "PRESETS['quick'] = PRESETS['default']\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is not in the repository, with an empty studies/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    return tmp_path


def refused(folder: Path, text: str | bytes) -> str:
    path = folder / "own.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = set(sys.modules)
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert "Traceback" not in str(caught.value)
    assert not [name for name in set(sys.modules) - before if name.startswith("vaetune_study_own")]
    return str(caught.value)


def test_a_file_outside_the_package_by_its_path(folder: Path) -> None:
    (folder / "own.py").write_text('"""What it asks.\n"""\n' + GOOD)
    loaded = load("own.py")
    assert loaded.path == folder / "own.py"
    assert loaded.sha256 == hashlib.sha256(loaded.path.read_bytes()).hexdigest()
    assert loaded.docstring == "What it asks."
    assert list(loaded.presets) == ["default", "quick"]
    assert loaded.preset("default").arms[0].name == "plain"
    assert sys.modules[loaded.module.__name__] is loaded.module
    assert loaded.module.__file__ == str(loaded.path)
    assert not (folder / "__pycache__").exists()


def test_files_of_one_name_get_modules_of_their_own(folder: Path) -> None:
    for below in ("a", "b"):
        (folder / below).mkdir()
        (folder / below / "own.py").write_text(GOOD)
    assert load("a/own.py").module.__name__ != load("b/own.py").module.__name__


def test_dataclasses_and_models_of_the_file_resolve(folder: Path) -> None:
    (folder / "own.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from vaetune.config import ModelConfig\n" + HEAD + "@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(ModelConfig):\n    kind: ClassVar[str] = 'mine'\n"
        "    widths: tuple[int, ...] | None = None\n    sub: Sub\n"
        "@dataclass(frozen=True)\nclass Sub:\n    depth: int\n" + OPEN + "model=Mine(widths=[3, 4], sub=Sub(2)))\n"
    )
    model: Any = load("own.py").preset("default").model
    assert (model.widths, model.sub.depth) == ((3, 4), 2)


def test_lists_become_tuples_all_the_way_down(folder: Path) -> None:
    (folder / "own.py").write_text(
        HEAD + "C = Comparison(name='c', question='', weights=[['plain', 1], [BestOf(['plain']), -1]])\n"
        "STUDY = Study(name='s', hypothesis='', arms=list(ARMS), comparisons=[C], margin=1)\n"
    )
    study = load("own.py").preset("default")
    assert type(study.arms) is tuple
    assert list(study.comparisons[0].weights[0]) == ["plain", 1]
    numbers = [study.margin, *(weight for _, weight in study.comparisons[0].weights)]
    assert [type(number) for number in numbers] == [float, float, float]
    assert hash(study.comparisons[0].weights)


def test_a_name_is_found_here_and_further_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "studies" / "mine.py").write_text(GOOD)
    deep = folder / "a" / "b"
    (deep / "studies").mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert find("mine") == folder / "studies" / "mine.py"
    (deep / "studies" / "mine.py").write_text(GOOD)
    assert find("mine") == deep / "studies" / "mine.py"


def test_the_repository_beside_the_package_is_the_last_resort(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = folder / "repository"
    (repository / "studies").mkdir(parents=True)
    (repository / "studies" / "shipped.py").write_text(GOOD)
    monkeypatch.setattr(vaetune, "__file__", str(repository / "vaetune" / "__init__.py"))
    with pytest.raises(UserError, match="unknown study 'shipped'"):
        find("shipped")
    (repository / "pyproject.toml").touch()
    assert find("shipped") == repository / "studies" / "shipped.py"


def test_a_typo_gets_the_near_names(folder: Path) -> None:
    (folder / "studies" / "regularizer.py").write_text(GOOD)
    with pytest.raises(UserError, match="unknown study 'regularzer': did you mean 'regularizer'"):
        load("regularzer")
    with pytest.raises(UserError, match=r"unknown study file 'regularizr.py': did you mean 'regularizer.py'"):
        load("studies/regularizr.py")
    with pytest.raises(UserError, match=r"there is no study file nowhere/at_all.py"):
        load("nowhere/at_all.py")
    with pytest.raises(UserError, match=r"unknown preset of studies/regularizer.py 'quik': did you mean 'quick'"):
        load("regularizer").preset("quik")


@pytest.mark.parametrize(
    "target", ["", ".", "..", "/", "\0", "a\0b.py", "x" * 5000 + ".py", "~nobody_here/x.py", "studies/", "dir.py"]
)
def test_strange_targets_are_user_errors(folder: Path, target: str) -> None:
    (folder / "dir.py").mkdir()
    with pytest.raises(UserError):
        load(target)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef f(:\n", "own.py:2: SyntaxError: invalid syntax"),
        ("x = 1\n\nimport nowhere_to_find\n", "own.py:3: ModuleNotFoundError: No module named 'nowhere_to_find'"),
        ("from vaetune.study import Stduy\n", "own.py:1: ImportError: cannot import name 'Stduy'"),
        ("def f():\n    return 1 / 0\nf()\n", "own.py:2: ZeroDivisionError: division by zero"),
        ("import json\n\njson.loads('{')\n", "own.py:3: JSONDecodeError"),
        ("import sys\nsys.exit(3)\n", "own.py:2: SystemExit: 3"),
        ("raise ValueError\n", "own.py:1: ValueError: no message"),
        (HEAD + "Budget(trails=3)\n", "own.py:3: TypeError: Budget.__init__() got an unexpected keyword"),
        (HEAD + "Study(name='s', hypothesis='', arms=ARMS).arm('plian')\n", "own.py:3: unknown arm 'plian'"),
        (b"x = '\xff'\n", "SyntaxError"),
        (b"x = 1\0\n", "null bytes"),
        ("(" * 5000, "own.py"),
        ("", "defines neither STUDY = Study(...) nor PRESETS"),
        ("STUDY = 3\n", "PRESETS['default'] must be a Study, found int"),
        ("PRESETS = []\n", "PRESETS must be a dict of preset name to Study, found []"),
        ("PRESETS = {}\n", "PRESETS must be a dict"),
        (HEAD + "PRESETS = {'quick': Study(name='s', hypothesis='', arms=ARMS)}\n", 'no "default", only quick'),
        (HEAD + "PRESETS = {'default': ARMS}\n", "PRESETS['default'] must be a Study, found tuple"),
        (HEAD + "PRESETS = {3: Study(name='s', hypothesis='', arms=ARMS)}\n", "PRESETS[3] must be"),
        (HEAD + "STUDY = Study(name='s', hypothesis='', arms=())\n", "there are no arms"),
        (HEAD + "STUDY = Study(name='s', hypothesis='', arms=ARMS * 2)\n", "two arms are named 'plain'"),
        (HEAD + "STUDY = Study(name='s', hypothesis='', arms=ARMS[0])\n", "].arms: expected a list, each Arm, found"),
        (HEAD + "STUDY = Study(name='s', hypothesis='', arms=('plain',))\n", "].arms[0]: expected Arm, found 'plain'"),
        (HEAD + "STUDY = Study(name=None, hypothesis='', arms=ARMS)\n", "].name: expected text, found None"),
        (HEAD + OPEN + "space=3)\n", "].space: expected a function, found 3"),
        (HEAD + OPEN + "margin='wide')\n", "].margin: expected a finite number"),
        (HEAD + OPEN + "margin=float('nan'))\n", "expected a finite number, found nan"),
        (HEAD + OPEN + "budget={'trials': 3})\n", "].budget: expected Budget"),
        (HEAD + OPEN + "budget=Budget(trials=3.5))\n", "].budget.trials: expected an integer, found 3.5"),
        (HEAD + OPEN + "budget=Budget(trials=True))\n", "].budget.trials: expected an integer, found True"),
        (HEAD + OPEN + "model=TrainingConfig())\n", "].model: expected ModelConfig"),
        (HEAD + OPEN + "model=SupervisedVAEConfig(bottleneck='gausian'))\n", "did you mean 'gaussian'"),
        (
            HEAD + OPEN + "comparisons=[Comparison(name='c', question='', weights=[['plain']])])\n",
            "].comparisons[0].weights[0]: expected (text or BestOf, a finite number), found ['plain']",
        ),
        (
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "from vaetune.config import ModelConfig\n"
            + HEAD
            + "@dataclass(frozen=True)\nclass M(ModelConfig):\n    x: Nowhere = 3\n"
            + OPEN
            + "model=M())\n",
            "M do not resolve: name 'Nowhere'",
        ),
    ],
)
def test_mistakes_in_a_study_file_are_named_with_their_place(folder: Path, text: str | bytes, message: str) -> None:
    found = refused(folder, text)
    assert message in found
    assert found.startswith("own.py")


def test_an_error_in_a_module_that_the_file_imports_names_both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "helper_of_own.py").write_text("x = 1\ny = (\n")
    monkeypatch.syspath_prepend(str(folder))
    assert "own.py:2: SyntaxError" in (found := refused(folder, "z = 0\nimport helper_of_own\n"))
    assert "helper_of_own.py:2" in found


def test_an_unreadable_file_is_a_user_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (folder / "own.py").write_text(GOOD)
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(UserError, match=r"own.py: Permission denied"):
        load("own.py")


def test_available_lists_studies_and_keeps_the_broken_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaetune, "__file__", str(folder / "elsewhere" / "vaetune" / "__init__.py"))
    (folder / "studies" / "good.py").write_text(GOOD)
    (folder / "studies" / "bad.py").write_text("1 / 0\n")
    (folder / "studies" / "_private.py").write_text("1 / 0\n")
    bad, good = available()
    assert (good.name, good.presets, good.arms, good.hypothesis) == ("good", ("default", "quick"), 1, "does it?")
    assert (bad.name, bad.error) == ("bad", "studies/bad.py:1: ZeroDivisionError: division by zero")
