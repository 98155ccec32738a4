"""JupyterLab as a person uses it: notebook 03 is opened and run, a slider moves, the image changes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SHOTS = Path(os.environ.get("VAETUNE_SCREENSHOTS", ROOT / "build" / "screenshots"))
BUILT = ROOT / "build" / "notebooks" / "runs"


@pytest.fixture(scope="module")
def runs(study: Callable[..., subprocess.Popen[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke result that `make notebooks` left, or a new one."""
    if (BUILT / "mlflow.db").exists():
        return BUILT
    folder = tmp_path_factory.mktemp("runs")
    uri = f"sqlite:///{folder}/mlflow.db"
    driver = study("regularizer_ablation", "--preset", "smoke", "--storage", str(folder), "--tracking-uri", uri)
    out, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0, out
    return folder


@pytest.fixture(scope="module")
def lab(runs: Path, tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[str]:
    """The address of a JupyterLab with a copy of the notebooks."""
    pytest.importorskip("jupyterlab")
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    own = {"VAETUNE_RUNS": str(runs), "JUPYTER_CONFIG_DIR": str(folder / "config"), "HOME": str(folder)}
    own |= {"OMP_NUM_THREADS": "1", "JUPYTER_DATA_DIR": str(folder / "data")}
    environment = {name: text for name, text in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | own
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not answers(uri):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/api", timeout=2):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def page(lab: str) -> Iterator[Any]:
    """Notebook 03, run from top to bottom; a picture is kept."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Debian's chromium")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1400, "height": 1150})
        page.set_default_timeout(180_000)
        page.goto(f"{lab}/lab/tree/notebooks/03-explore-latents.ipynb")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # before that, Run asks for a kernel
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text(re.compile("^Run All Cells$")).click()
        try:
            decoded(page).wait_for()
            yield page
        finally:
            SHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SHOTS / "notebook_03.png")
            browser.close()


def sliders(page: Any) -> Any:
    return page.locator(".widget-slider .noUi-handle")


def decoded(page: Any) -> Any:
    """The image beside the words that it was decoded."""
    return page.locator("xpath=//*[contains(text(), 'decoded in')]/ancestor::*[.//img][1]//img").last


def changed(page: Any, image: Any, before: str) -> None:
    deadline = time.monotonic() + 60
    while pixels(page, image) == before:
        assert time.monotonic() < deadline, "the image did not change"
        page.wait_for_timeout(50)


def pixels(page: Any, image: Any) -> str:
    """What is seen, not the image's address, which changes with every update, also while one is being decoded."""
    return str(
        image.evaluate(
            """async image => { for (let done = false; !done;) await image.decode().then(() => { done = true; },
            () => new Promise(requestAnimationFrame)); const c = document.createElement('canvas');
            c.width = image.naturalWidth; c.height = image.naturalHeight; c.getContext('2d').drawImage(image, 0, 0);
            return c.toDataURL(); }"""
        )
    )


def test_a_slider_moves_and_the_image_changes(page: Any) -> None:
    before = pixels(page, decoded(page))
    sliders(page).first.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    changed(page, decoded(page), before)
    assert re.search(r"decoded in \d+ ms", page.content())


def test_a_click_shows_another_image(page: Any) -> None:
    said = page.get_by_text(re.compile(r"\(image \d+\)")).first
    before = said.inner_text()
    dots = page.locator(".js-plotly-plot .scatterlayer .trace").first.locator("path.point")
    # Plotly takes clicks on a layer above the dots.
    for i in range(20, 40):
        dots.nth(i).scroll_into_view_if_needed()  # the mouse reaches nothing that is not in sight
        box = dots.nth(i).bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator(".js-plotly-plot .hoverlayer .hovertext").first.wait_for()
        page.mouse.down()
        page.mouse.up()
        deadline = time.monotonic() + 20
        while said.inner_text() == before and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        if said.inner_text() != before:
            break
    assert said.inner_text() != before
