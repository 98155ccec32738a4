"""The explorer's widgets without a browser: what a move or a click does to what is shown."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from vaetune.errors import UserError
from vaetune.latents.explorer import Explorer
from vaetune.latents.subject import Subject

pytestmark = pytest.mark.notebooks


def shown(widget: object) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(widget.value)).convert("L")).astype(int)  # type: ignore[attr-defined]


@pytest.fixture
def explorer(svae: Subject, vae2: Subject) -> Explorer:
    return Explorer({"svae": lambda: svae, "vae2": lambda: vae2})


def test_a_slider_moves_the_decoded_image_and_back(explorer: Explorer, svae: Subject) -> None:
    assert explorer.origin.value == "all images"
    home = shown(explorer.decoded)
    expected = svae.decode(svae.principal_axes.center.unsqueeze(0))[0, 0]
    side = len(home) // 8
    assert np.array_equal(home[side // 2 :: side, side // 2 :: side][:8, :8], (expected * 255).round().byte().numpy())
    seen = {home.tobytes()}
    for k in (-3.0, -1.0, 1.0, 3.0):
        explorer.sliders[0].value = k
        seen.add(shown(explorer.decoded).tobytes())
    assert len(seen) == 5
    explorer.reset.click()
    assert np.array_equal(shown(explorer.decoded), home)


def test_sliders_count_in_the_sigma_of_the_class(explorer: Explorer, svae: Subject) -> None:
    explorer.origin.value = 3
    start, axes = explorer._start()
    mean, _ = svae.class_center(3)
    assert torch.allclose(start, mean, atol=1e-5)
    own = svae.principal_axes.coordinates(svae.mu[svae.labels == 3]).std(0)
    assert torch.allclose(axes.spread, own, atol=1e-4)


def test_a_click_shows_the_image_its_neighbours_and_probabilities(explorer: Explorer, svae: Subject) -> None:
    before = shown(explorer.image), shown(explorer.neighbours), explorer.said.value
    trace = explorer.matrix.figure.data[0]

    class Points:
        point_inds = (17,)

    explorer.matrix._clicked(trace, Points(), None)
    after = shown(explorer.image), shown(explorer.neighbours), explorer.said.value
    assert not np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])
    assert "(image 17)" in after[2]
    assert svae.probabilities is not None
    assert f"{svae.probabilities[17].max():.2f}" in after[2]
    explorer.origin.value = "the clicked image"
    assert torch.equal(explorer._start()[0], svae.mu[17])


def test_the_matrix_shows_the_chosen_axes_with_what_they_explain(explorer: Explorer, svae: Subject) -> None:
    explorer.components.value = (0, 1, 3)
    figure = explorer.matrix.figure
    assert len(figure.data) == 3, "three pairs of three axes"
    at = svae.principal_axes.coordinates(svae.mu).numpy()
    assert np.allclose(figure.data[0].x, at[:, 0])
    assert np.allclose(figure.data[2].y, at[:, 3])
    titles = {axis.title.text for axis in figure.select_xaxes()} | {axis.title.text for axis in figure.select_yaxes()}
    assert {svae.principal_axes.label(i, "<br>") for i in (0, 1, 3)} <= titles
    assert len(set(figure.data[0].marker.color)) == 10
    explorer.kind.value = "latents"
    assert explorer.components.options[0][0] == svae.latent_axes.label(0)
    explorer.components.value = (2,)
    assert len(figure.data) == 0, "a single axis makes no pair"


def test_another_model_brings_its_own_axes(explorer: Explorer) -> None:
    assert sum(slider.layout.display != "none" for slider in explorer.sliders) == 6
    explorer.picker.value = "vae2"
    assert sum(slider.layout.display != "none" for slider in explorer.sliders) == 2
    assert len(explorer.matrix.figure.data) == 1
    assert "image 0" in explorer.said.value


def test_it_says_how_long_a_move_took(explorer: Explorer) -> None:
    explorer.sliders[0].value = 1.0
    assert re.fullmatch(r"decoded in \d+ ms", explorer.took.value)


def test_nothing_to_explore_is_told() -> None:
    with pytest.raises(UserError, match="there is no model to explore"):
        Explorer({})


def test_the_benchmark_times_moves_that_change_the_image() -> None:
    from benchmarks.explorer import MODELS, moves

    rows = moves(40)
    assert [row["route"] for row in rows] == list(MODELS)
    assert all(0 < row["median_ms"] <= row["greatest_ms"] for row in rows)
