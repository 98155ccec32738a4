"""explorer.html as a person opens it: from disk, in Debian's Chromium, with the network off."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vaetune.datasets import open_dataset
from vaetune.latents import page as explorer
from vaetune.latents.subject import Subject
from vaetune.models.base import initialise
from vaetune.models.configs import SupervisedVAEConfig

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SHOTS = Path(os.environ.get("VAETUNE_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots"))


def trained(seed: int) -> Subject:
    """A supervised VAE with a decoder after some epochs on digits."""
    digits = open_dataset("digits").development()
    x, y = torch.from_numpy(digits.images).float() / 255, torch.from_numpy(digits.labels)
    config = SupervisedVAEConfig(
        trunk=(64,), latents=8, bottleneck="gaussian", beta=0.01, decoder=(64,), reconstruction=0.1
    )
    model = config.build((1, 8, 8), 10)
    initialise(model, seed)
    adam = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(150):
        adam.zero_grad()
        model.terms(x, y, None)["loss"].mean().backward()  # type: ignore[no-untyped-call]
        adam.step()
    model.requires_grad_(False)
    return Subject(f"svae-{seed}", model, (x[:300] * 255).round().byte(), y[:300], tuple("0123456789"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    path.write_text(explorer.write("digits <b>&</b>", [trained(0), trained(1)]))
    return path


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Debian's chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1200, "height": 760}, offline=True)
        yield context
        browser.close()


@pytest.fixture
def page(context: Any, file: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, of which a picture is kept; whatever it complains of, or asks of the network, fails the test."""
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-ready='svae-0']")
    yield page
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{request.node.name}.png")
    page.close()
    assert wrong == []


def shown(page: Any, canvas: str) -> str:
    return str(page.evaluate(f"document.getElementById('{canvas}').toDataURL()"))


def hover(page: Any, x: float, y: float, plane: int = 0) -> None:
    box = page.locator(".plane canvas").nth(plane).bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_a_hover_changes_the_decoded_image_and_marks_the_nearest_image(page: Any) -> None:
    seen = set()
    for x in (0.15, 0.4, 0.6, 0.85):
        hover(page, x, 0.5)
        seen.add((shown(page, "decoded"), shown(page, "input"), page.inner_text("#where")))
    assert len({decoded for decoded, _, _ in seen}) == 4
    assert len({image for _, image, _ in seen}) > 1
    assert len({where for _, _, where in seen}) == 4


def test_the_planes_are_linked(page: Any) -> None:
    canvas = "document.querySelectorAll('.plane canvas')[1].toDataURL()"
    hover(page, 0.5, 0.5)
    before = page.evaluate(canvas)
    hover(page, 0.2, 0.2)
    assert page.evaluate(canvas) != before


def test_a_click_holds_the_image(page: Any) -> None:
    hover(page, 0.3, 0.3)
    page.mouse.down()
    page.mouse.up()
    held, decoded = shown(page, "input"), shown(page, "decoded")
    hover(page, 0.8, 0.8)
    assert shown(page, "input") == held
    assert shown(page, "decoded") != decoded


def test_another_model_shows_other_images(page: Any) -> None:
    hover(page, 0.5, 0.4)
    before = shown(page, "decoded")
    page.select_option("#model", "1")
    page.wait_for_selector("body[data-ready='svae-1']")
    hover(page, 0.5, 0.41)
    assert shown(page, "decoded") != before


def test_titles_are_text(page: Any) -> None:
    assert page.inner_text("h1") == "digits <b>&</b> · latent space"
