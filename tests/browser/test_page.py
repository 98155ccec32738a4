"""A whole study as a person sees it: MLflow's page in Debian's Chromium. Waits for text, never for a quiet network."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vaetune.tracking import links

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
QUIET = {
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.workflowType_v1": '"machine_learning"',
}
SHOTS = Path(os.environ.get("VAETUNE_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots"))
ARMS = ("plain", "svae", "svae_decoder")


@dataclass
class Site:
    """A served study: its address, and MLflow's ids by own id."""

    uri: str
    experiment: str
    runs: dict[str, str]
    run: str

    def link(self, title: str) -> str:
        return links(self.uri, self.experiment, self.runs[self.run])[title]

    def run_page(self, own_id: str) -> str:
        return f"{self.uri}/#/experiments/{self.experiment}/runs/{self.runs[own_id]}"


@pytest.fixture(scope="module")
def site(
    study: Callable[..., subprocess.Popen[str]], tiny: Path, tmp_path_factory: pytest.TempPathFactory, port: int
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("study")
    driver = study(str(tiny), "--storage", str(folder))
    out, _ = driver.communicate(timeout=500)
    assert driver.returncode == 0, out
    assert "published 3 models: new champion" in out
    database = folder / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        (experiment,) = connection.execute("SELECT experiment_id FROM experiments WHERE name = 'tiny'").fetchone()
        runs = dict(connection.execute("SELECT value, run_uuid FROM tags WHERE key = 'vaetune.id'").fetchall())
    (run,) = [path.name for path in (folder / "tiny").iterdir() if path.is_dir()]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"]
    command += ["--port", str(port), "--workers", "1", "--artifacts-destination", str(folder / "served")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while not answers(uri):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield Site(uri, str(experiment), runs, run)
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Debian's chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        context.set_default_timeout(90_000)
        settings = "".join(f"localStorage.setItem({json.dumps(k)}, {json.dumps(v)});" for k, v in QUIET.items())
        context.add_init_script(settings)
        yield context
        browser.close()


@pytest.fixture
def page(context: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page of which a picture is kept, however the test ends."""
    page = context.new_page()
    yield page
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{request.node.name}.png")
    page.close()


def see(page: Any, text: str) -> Any:
    """The first place where the text is, once it can be seen."""
    place = page.get_by_text(text).locator("visible=true").first
    place.wait_for(state="visible")
    return place


def test_the_experiment_shows_its_note(page: Any, site: Site) -> None:
    page.goto(site.link("Trials: best first"))
    note = see(page, "Noise helps.")
    # One line of it is shown until it is opened; the last button beside it does that.
    note.locator("xpath=ancestor::div[.//button][1]").get_by_role("button").last.click()
    see(page, "early-stopped and selected")
    report = page.get_by_role("link", name="report", exact=True)
    report.wait_for(state="visible")
    assert report.get_attribute("href").endswith(f"/runs/{site.runs[site.run]}/artifacts/report/report.html")


def test_arms_are_grouped_each_with_its_mean_curve(page: Any, site: Site) -> None:
    page.goto(site.link("Arms: mean curves of the replicates"))
    see(page, "Mean curves on validation and training")
    for arm in ARMS:
        see(page, f"Group: {arm}")
        see(page, f"{arm} (val/error)")
    assert page.get_by_text("Unassigned").count() == 0
    card = page.locator("[data-testid='experiment-view-compare-runs-card']").filter(has_text="val/error").first
    card.locator(".js-plotly-plot .scatterlayer .trace path.js-line").first.wait_for(state="attached")
    lines = card.locator(".js-plotly-plot .scatterlayer .trace path.js-line")
    assert lines.count() >= len(ARMS)
    drawn = [lines.nth(i).get_attribute("d") for i in range(lines.count())]
    assert len({path for path in drawn if path and path.count("L") >= 3}) >= len(ARMS), "a course of several epochs"


def test_replicates_are_listed_with_their_test_metrics(page: Any, site: Site) -> None:
    page.goto(site.link("Replicates: test metrics"))
    see(page, "test/nll_scaled")
    see(page, "svae_decoder-rep")


def test_a_replicate_shows_its_test_metrics(page: Any, site: Site) -> None:
    page.goto(site.run_page("svae-rep00"))
    see(page, "test/error")
    see(page, "test/ece_scaled")
    see(page, "best/error")


def test_the_report_renders(page: Any, site: Site) -> None:
    page.goto(site.link("Report"))
    frame = page.frame_locator("iframe").first
    frame.get_by_text("Verdicts").first.wait_for(state="visible")
    frame.get_by_text("svae − plain").first.wait_for(state="visible")


def test_pictures_are_shown(page: Any, site: Site) -> None:
    page.goto(f"{site.run_page(site.run)}/model-metrics")
    see(page, "svae_decoder/reconstruction")
    see(page, "svae_decoder/traversal")
    page.locator("img[src^='blob:'], img[src*='get-artifact'], img[src*='images']").first.wait_for(state="visible")
