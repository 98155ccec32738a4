from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from vaetune.report.render import render
from vaetune.storage import Storage
from vaetune.study import runner
from vaetune.study.patience import Patience

TABLES = {
    *("comparisons", "checks", "arms", "replicates", "sizes", "scores", "gaps", "scales", "curves", "secondary"),
    *("ledger", "published", "exploratory", "stopping", "expected", "winners_curse"),
    *("each_replicate", "trials", "sampling"),
}
HOSTILE = '<script>alert("x")</script> **bold** [link](http://evil.example) | & _em_ snake_case\nnext line'


@pytest.fixture(scope="module")
def report(execution: Callable, fail_replicate: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny execution: svae is better than plain, copy predicts exactly what plain does, one replicate failed."""
    made = execution({"svae": 0.05, "plain": 0.15, "copy": 0.15, "bad": 0.2})
    made.study["comparisons"] += [{"name": "plain − copy", "question": "", "weights": [["plain", 1.0], ["copy", -1.0]]}]
    made.study["published"] = {"plain": {"Someone et al. 2017": 0.138}}
    plain = made.predictions[made.predictions["replicate_id"].str.startswith("plain")]
    copy = plain.assign(replicate_id=plain["replicate_id"].str.replace("plain", "copy"))
    rest = made.predictions[~made.predictions["replicate_id"].str.startswith("copy")]
    made.predictions = pd.concat([rest, copy])
    for metric in ("test/error", "val/error"):
        source = made.replicates.loc[made.replicates["arm"] == "plain", metric].to_numpy()
        made.replicates.loc[made.replicates["arm"] == "copy", metric] = source
    fail_replicate(made, "bad-rep05")
    root = tmp_path_factory.mktemp("execution")
    made.write(Storage(root))
    render(Storage(root))
    return root / "report"


@pytest.fixture(scope="module")
def hostile(execution: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An execution whose every word of the user is markup."""
    made = execution({"svae": 0.05, "<img src=x onerror=alert(1)>": 0.15}, n=3, m=60)
    made.study["name"] = made.study["hypothesis"] = HOSTILE
    made.study["comparisons"][0]["name"] = made.study["comparisons"][0]["question"] = HOSTILE
    made.study["arms"][0]["summary"] = HOSTILE
    made.study["dataset_info"]["name"] = HOSTILE
    made.environment["hardware"]["cpu"] = HOSTILE
    made.ledger.loc[0, ["outcome", "reason"]] = ["failed", HOSTILE]
    root = tmp_path_factory.mktemp("hostile")
    made.write(Storage(root))
    render(Storage(root))
    return root / "report"


class Tags(HTMLParser):
    """Every start tag of a page with its attributes; scripts are opaque to the parser, as they are to a browser."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_markdown_has_its_sections_in_order(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert re.findall(r"^#+ .*$", text, re.MULTILINE) == [
        "# tiny_ablation",
        "## Verdicts",
        "### Differences in test error, with 95 % intervals",
        "### The same comparisons by other means",
        "## Flags",
        "## The arms",
        "### Test error",
        "### Test error of every replicate, %",
        "### Every replicate",
        "### Published elsewhere, beside this study",
        "### What each arm is, and what one replicate cost",
        "### Calibration and secondary scores",
        "### Validation and training scores, gaps and rate",
        "### Scales",
        "## Learning curves",
        "### Validation error of the replicates by epoch, %",
        "## Secondary metrics",
        "### The declared comparisons by other metrics",
        "### Every arm against svae",
        "### What averaging 12 samples changes",
        "## Beyond the error",
        "## What the search spent",
        "### Trials and training time by arm",
        "### Every trial, re-seeded candidate and replicate",
        "## Did the search search well?",
        "### Early stopping, judged by trials that were not stopped",
        "### Expected best val/error of k random trials, %",
        "### The best trial of the search, trained again",
        "## How this was measured",
    ]
    assert text.index("Noise on the latent regularizes.") < text.index("## Verdicts")
    assert "A smaller gap without a lower test error is never called regularization." in text
    assert "nan" not in text.lower().replace("finance", "")


def test_the_verdicts_are_the_known_ones(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert "- **svae − plain: better.** This configuration of svae against this one of plain: the test error is" in text
    assert "- **svae − bad: undecided.**" in text  # the failed replicate's chance error widens the interval
    assert (
        "- **plain − copy: equivalent.** This configuration of plain against this one of copy: the test errors differ "
        "by less than the margin of 0.50 points (difference 0.00 points; 95 % interval 0.00 to 0.00; Holm p of "
        "equivalence \\< 0.001; 6 paired replicates and 200 test examples)." in text
    )


def test_failures_and_published_values_are_shown(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert "bad: 1 of 6 replicates failed (loss is not finite); each scores chance error, 90.00 %." in text
    assert "6 (1 failed)" in text
    assert re.search(r"\| plain \| Someone et al. 2017 \| 13.80 \| 15.\d\d \| ", text)


def test_every_markdown_table_is_rectangular(report: Path, hostile: Path) -> None:
    for folder in (report, hostile):
        for block in re.findall(r"(?:^\|.*\|\n)+", (folder / "report.md").read_text(), re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(widths) == 1


def test_every_table_is_written_twice_with_the_same_numbers(report: Path) -> None:
    assert {path.stem for path in report.glob("*.csv")} == TABLES == {path.stem for path in report.glob("*.parquet")}
    for name in TABLES:
        parquet = pd.read_parquet(report / f"{name}.parquet")
        csv = pd.read_csv(report / f"{name}.csv")
        assert list(csv.columns) == list(parquet.columns)
        assert len(csv) == len(parquet) > 0
    arms = pd.read_csv(report / "arms.csv").set_index("arm")
    assert arms.loc["svae", "test/error"] == pytest.approx(0.05, abs=0.01)  # a fraction, not per cent


def test_every_table_is_written_as_latex_in_which_nothing_is_a_command(report: Path, hostile: Path) -> None:
    assert {path.stem for path in report.glob("*.tex")} == TABLES
    for path in (*report.glob("*.tex"), *hostile.glob("*.tex")):
        lines = path.read_text().splitlines()
        columns = len(re.fullmatch(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", lines[1])[1])  # type: ignore[index]
        rows = [line for line in lines if line.endswith(" \\\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {columns - 1}
        bare = re.sub(r"\\[&%$#_{}]|\\[a-z]+(?:\{\})?|\$[^$]*\$|\\\\$", "", "\n".join(rows), flags=re.MULTILINE)
        assert not re.search(r"[\\%$#_~^]", bare), path


def test_the_table_of_comparisons_says_what_the_arms_say(report: Path) -> None:
    arms = pd.read_csv(report / "arms.csv").set_index("arm")["test/error"]
    row = pd.read_csv(report / "comparisons.csv").set_index("comparison").loc["svae − plain"]
    assert row["difference"] == pytest.approx(arms["svae"] - arms["plain"])
    assert row["low"] < row["difference"] < row["high"] < 0
    assert row["relative_reduction"] == pytest.approx(1 - arms["svae"] / arms["plain"])
    assert row["verdict"] == "better"


def test_the_page_loads_nothing(report: Path) -> None:
    page = (report / "report.html").read_text()
    for tag, attributes in Tags(page).found:
        for name in ("src", "srcset", "data", "poster", "action", "background"):
            assert name not in attributes, (tag, attributes)
        if "href" in attributes:
            assert attributes["href"].startswith("#")
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page


@pytest.fixture(scope="module")
def tracked(execution: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An execution with a battery, whose runs are at a server."""
    made = execution({"svae": 0.05, "plain": 0.15}, n=3, m=60)
    made.environment["tracking"] = "https://mlflow.example"
    ids = [*made.ledger["trial_id"], *made.replicates["replicate_id"]]
    made.optional["runs"] = pd.DataFrame({"own_id": ids, "run_id": [f"r{i}" for i in range(len(ids))]})
    made.optional["runs"]["experiment_id"] = "7"
    root = tmp_path_factory.mktemp("tracked")
    made.write(Storage(root))
    render(Storage(root))
    return root


def test_every_run_and_the_replicates_of_every_arm_are_linked(tracked: Path) -> None:
    runs = pd.read_parquet(next((tracked / "tables" / "runs").iterdir())).set_index("own_id")["run_id"]
    page = (tracked / "report" / "report.html").read_text()
    for own, run in runs.items():
        assert f'<a href="https://mlflow.example/#/experiments/7/runs/{run}" rel="noreferrer">{own}</a>' in page
    wanted = "tags.%22vaetune.kind%22%20%3D%20%22replicate%22%20and%20tags.%22vaetune.arm%22%20%3D%20%22svae%22"
    assert page.count(wanted) == 5  # errors, sizes, scores, gaps, scales
    text = (tracked / "report" / "report.md").read_text()
    assert f"| [svae-rep00](<https://mlflow.example/#/experiments/7/runs/{runs['svae-rep00']}>) |" in text


def test_an_address_that_is_no_web_address_is_no_link(execution: Callable, tmp_path: Path) -> None:
    made = execution({"svae": 0.05}, n=2, m=50, comparisons=[])
    made.environment["tracking"] = "javascript:alert(1)//"
    made.optional["runs"] = pd.DataFrame({"own_id": ["svae-rep00"], "run_id": ["r"], "experiment_id": ["7"]})
    made.write(Storage(tmp_path))
    render(Storage(tmp_path))
    assert "javascript:" not in (tmp_path / "report" / "report.html").read_text().partition("<body>")[2]


def test_plotly_is_embedded_once_and_every_figure_is_drawn(report: Path) -> None:
    page = (report / "report.html").read_text()
    tags = Tags(page).found
    figures = [a["id"] for tag, a in tags if tag == "div" and (a.get("id") or "").startswith("figure-")]
    assert figures == ["figure-forest", "figure-distributions", "figure-curves", "figure-ledger", "figure-expected"]
    assert page.count("plotly.js v") == 1
    assert len(page) < 7_000_000


def test_words_of_the_user_stay_words_in_html(hostile: Path) -> None:
    page = (hostile / "report.html").read_text()
    tags = Tags(page).found
    assert not [tag for tag, _ in tags if tag == "img"]
    assert sum(tag == "script" for tag, _ in tags) == 2 + 5  # plotly, the theme, and a call for each figure
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in page
    assert "<img src=x" not in page
    assert '<script>alert("x")' not in page


def test_words_of_the_user_stay_words_in_markdown(hostile: Path) -> None:
    text = (hostile / "report.md").read_text()
    assert (
        '\\<script\\>alert("x")\\</script\\> \\*\\*bold\\*\\* \\[link\\](http://evil.example) '
        "\\| \\& \\_em\\_ snake_case next line" in text
    )
    assert not re.search(r"(?<!\\)<script", text)
    assert "\nnext line" not in text


def test_a_study_without_comparisons_says_so(execution: Callable, tmp_path: Path) -> None:
    made = execution({"svae": 0.05}, n=2, m=50, comparisons=[])
    made.history = made.history.iloc[:0]
    made.write(Storage(tmp_path))
    render(Storage(tmp_path))
    text = (tmp_path / "report" / "report.md").read_text()
    assert "nothing in this report is confirmatory" in text
    assert "No replicate left a learning curve." in text


def test_one_search_and_three_are_worded_apart(execution: Callable, tmp_path: Path) -> None:
    made = execution({"svae": 0.05, "plain": 0.15}, searches=3)
    made.write(Storage(tmp_path))
    render(Storage(tmp_path))
    text = (tmp_path / "report" / "report.md").read_text()
    assert "svae against plain, over 3 searches of each: the test error is lower by" in text
    assert "Inference is over 3 independent searches an arm" in text
    assert "this configuration of" not in text.lower()


def test_rendering_again_replaces_the_report(report: Path) -> None:
    before = (report / "report.md").read_text()
    page = (report / "report.html").read_text()
    render(Storage(report.parent))
    assert (report / "report.md").read_text() == before
    assert (report / "report.html").read_text() == page


def test_the_report_imports_nothing_that_trains_or_tracks() -> None:
    heavy = "{'torch', 'ray', 'mlflow', 'optuna'} & set(sys.modules)"
    code = f"import sys, vaetune.report.render; print(sorted({heavy})); import optuna; print(sorted({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['optuna']"]


def test_only_long_names_may_break() -> None:

    from vaetune.report import page
    from vaetune.report.document import Table, word

    for name, expected in (("fixed_noise_penalty", False), ("fixed_noise_penalty, label_noise = 0.3", True)):
        shown = page._table(Table("t", "t", pd.DataFrame({"arm": [name]}), {"Arm": word("arm")}))
        assert ('class="scroll long"' in shown) is expected


def test_a_study_waits_for_a_storage_that_does_not_take_its_report(
    execution: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execution({"svae": 0.05, "plain": 0.15}, n=3, m=60).write(Storage(tmp_path))
    (tmp_path / "report").write_text("in the way")
    mended = partial(Patience, sleep=lambda _: (tmp_path / "report").unlink())
    monkeypatch.setattr(runner, "Patience", mended)
    runner._render(Storage(tmp_path))
    assert (tmp_path / "report" / "report.html").exists()
    first, second = capsys.readouterr().out.splitlines()
    assert "trying again" in first
    assert second == "the storage works again"
