from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vaetune import checkpoints
from vaetune.errors import UserError
from vaetune.pull import copying
from vaetune.pull.__main__ import main
from vaetune.pull.loading import load
from vaetune.storage import Storage

RUN = "20260102-030405-abcd"


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_result_is_pulled_whole(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--all", "--to", str(tmp_path / "to")]) == 0
    target = tmp_path / "to" / "toy" / RUN
    assert hashes(target) == hashes(folder)
    out = capsys.readouterr().out
    assert "checkpoints" in out
    assert "18/18" not in out  # two files each, the manifest not counted
    assert "12/12" in out
    assert out.splitlines()[-1] == str(target)


def test_each_arms_best_or_one_arm(folder: Path, tmp_path: Path) -> None:
    assert main([str(folder), "--to", str(tmp_path / "a")]) == 0
    target = tmp_path / "a" / "toy" / RUN
    assert sorted(path.name for path in (target / "checkpoints").iterdir()) == ["plain-rep01", "svae-rep01"]
    assert (target / "report/report.html").exists()
    assert main([str(folder), "--arm", "svae", "--to", str(tmp_path / "b")]) == 0
    target = tmp_path / "b" / "toy" / RUN
    assert [path.name for path in (target / "checkpoints").iterdir()] == ["svae-rep01"]
    assert not (target / "report").exists()
    assert load(target, "svae").metrics == load(folder, "svae").metrics


class Breaking:
    """A storage's files that break off after `n` reads, or come short."""

    def __init__(self, folder: Storage, n: int = 99, cut: int = 0) -> None:
        self.folder, self.left, self.cut = folder, n, cut
        self.asked: list[str] = []

    def read(self, name: str) -> bytes:
        self.asked.append(name)
        if self.left == 0:
            raise OSError("connection reset")
        self.left -= 1
        data = self.folder.read(name)
        return data[: -self.cut] if self.cut and name == "weights.safetensors" else data


def nothing(name: str, size: int) -> None:
    pass


def test_what_breaks_off_is_no_checkpoint_and_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    own, target = Storage(folder).below("checkpoints/svae-rep01"), Storage(tmp_path / "to")
    for n in range(3):
        with pytest.raises(OSError, match="connection reset"):
            copying.checkpoint(Breaking(own, n).read, "svae-rep01", target, nothing, "it")
        there = hashes(tmp_path / "to") if (tmp_path / "to").exists() else {}
        assert there.items() <= hashes(folder).items(), "only whole files under their own names"
        with pytest.raises(UserError):
            load(tmp_path / "to", "svae")
    again = Breaking(own)
    copying.checkpoint(again.read, "svae-rep01", target, nothing, "it")
    assert again.asked == ["manifest.json", "weights.safetensors"], "config.json had been fetched"
    assert load(tmp_path / "to", "svae").id == "svae-rep01"


def test_training_state_stays_behind(folder: Path, tmp_path: Path) -> None:
    source, target = Storage(folder), Storage(tmp_path / "to")
    kept = checkpoints.load(source, "svae-rep01")
    checkpoints.save(source, "svae-rep01", replace(kept, training={"adam.m": torch.zeros(9)}))
    own = Breaking(source.below("checkpoints/svae-rep01"))
    for _ in range(2):  # the second time all is there
        copying.checkpoint(own.read, "svae-rep01", target, nothing, "it")
    assert own.asked == ["manifest.json", "config.json", "weights.safetensors", "manifest.json"]
    assert target.list("checkpoints/svae-rep01") == ["config.json", "manifest.json", "weights.safetensors"]
    assert checkpoints.load(target, "svae-rep01", training=True).config == kept.config


def test_a_short_download_gets_no_name(folder: Path, tmp_path: Path) -> None:
    own = Storage(folder).below("checkpoints/svae-rep01")
    with pytest.raises(UserError, match=r"weights.safetensors is damaged or was cut short"):
        copying.checkpoint(Breaking(own, cut=3).read, "svae-rep01", Storage(tmp_path / "to"), nothing, "it")
    assert sorted(hashes(tmp_path / "to")) == ["checkpoints/svae-rep01/config.json"]


def test_another_training_under_the_same_name_replaces_it_or_leaves_none(folder: Path, tmp_path: Path) -> None:
    target = Storage(tmp_path / "to")
    one, other = (Storage(folder).below(f"checkpoints/svae-rep0{i}") for i in (1, 2))
    copying.checkpoint(one.read, "svae-rep01", target, nothing, "it")
    with pytest.raises(OSError, match="connection reset"):
        copying.checkpoint(Breaking(other, 2).read, "svae-rep01", target, nothing, "it")
    assert not target.exists("checkpoints/svae-rep01/manifest.json")


@pytest.mark.parametrize("id", ["", ".", "..", "../x", "a/b"])
def test_an_id_that_is_a_path_is_refused(folder: Path, tmp_path: Path, id: str) -> None:
    own = Storage(folder).below("checkpoints/svae-rep01")
    with pytest.raises(UserError, match="is no member's id"):
        copying.checkpoint(own.read, id, Storage(tmp_path / "to"), nothing, "it")


@pytest.mark.parametrize(("name", "run"), [("../../etc", RUN), ("toy", ".."), ("", RUN), ("a/b", RUN), (None, None)])
def test_a_record_that_names_a_path_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str | None, run: str | None
) -> None:
    record = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(record | {"name": name, "run": run}))
    assert main([str(folder), "--to", str(tmp_path / "to")]) in ((2,) if name is not None else (0, 2))
    if name is not None:
        assert "no names of folders" in capsys.readouterr().err
        assert not (tmp_path / "to").exists()


def test_mistakes_are_one_line_and_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for arguments in (["toy"], ["./x"], [], ["x", "--fast"], ["ftp://x/y"]):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("vaetune: ")
        assert "Traceback" not in err


def imported(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint('HEAVY', *({{'torch', 'ray', 'mlflow', 'pandas'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_import_vaetune_and_help_import_nothing_heavy() -> None:
    assert imported("import vaetune, vaetune.pull") == set()
    stop = "import sys\ntry:\n    from vaetune.pull.__main__ import main\n    main(['--help'])\nexcept SystemExit: pass"
    assert imported(stop) == set()
    assert imported("import vaetune; vaetune.load") >= {"torch"}
    assert imported("import vaetune; vaetune.tables") == {"pandas"}


def test_names_at_the_top_whatever_was_imported_before() -> None:
    for before in ("", "import vaetune.tables", "from vaetune.tables import Tables"):
        code = f"{before}\nimport vaetune\nfrom vaetune import tables\nassert callable(vaetune.tables)"
        assert imported(f"{code} and tables.Tables") == {"pandas"}


@pytest.mark.slow
def test_a_killed_pull_leaves_only_whole_files_and_goes_on(folder: Path, tmp_path: Path) -> None:
    """Killed again and again at the moment a file gets there, until it is done."""
    command = [sys.executable, "-m", "vaetune.pull", str(folder), "--all", "--to", str(tmp_path / "to")]
    target, expected = tmp_path / "to" / "toy" / RUN, hashes(folder)
    kills = 0

    def wait() -> int:
        return len([path for path in target.rglob("*") if path.is_file()])

    while True:
        before = wait()
        pull = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        while pull.poll() is None and (kills >= 2 or wait() <= before):
            time.sleep(0.002)
        if pull.poll() == 0:
            break
        pull.kill()
        pull.wait()
        kills += 1
        found = {name: value for name, value in hashes(target).items() if not name.rsplit("/")[-1].startswith(".")}
        assert found.items() <= expected.items()
        for manifest in target.glob("checkpoints/*/manifest.json"):
            load(target, id=manifest.parent.name)
    assert kills == 2
    assert {n: v for n, v in hashes(target).items() if not n.endswith(".aside")} == expected
