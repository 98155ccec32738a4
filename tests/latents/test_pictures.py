"""Every picture is looked at by its pixels: not grey, not constant, and what should move moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from vaetune.errors import UserError
from vaetune.latents import pictures, scatters, traversals
from vaetune.latents.grids import Animation, grid, pixels
from vaetune.latents.subject import Subject
from vaetune.models.base import initialise
from vaetune.models.configs import ConjointVAEConfig

SIDE, GAP = 48, 2  # an 8×8 image is shown six-fold


def array(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.convert("RGB"))


def tiles(picture: Image.Image, rows: int, columns: int, gap: int = GAP) -> NDArray[np.uint8]:
    """The images in a grid [rows, columns, 8, 8], counted from its lower right corner."""
    shown = array(picture)
    step = SIDE + gap
    top, left = shown.shape[0] - rows * step, shown.shape[1] - columns * step
    out = np.empty((rows, columns, 8, 8), np.uint8)
    for r in range(rows):
        for c in range(columns):
            out[r, c] = shown[top + r * step :, left + c * step :][:SIDE:6, :SIDE:6, 0]
    return out


def lively(images: NDArray[np.uint8]) -> bool:
    """Whether each image has dark and bright pixels."""
    flat = images.reshape(-1, 64)
    return bool((np.ptp(flat, axis=1) > 100).all())


def test_a_grid_holds_its_images_pixel_for_pixel() -> None:
    images = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = tiles(grid(list(images), names=["a", "b"], titles=["x", "σ", ""]), 2, 3)
    assert np.array_equal(found, (images[:, :, 0] * 255).round().byte().numpy())


def test_names_are_drawn_and_greek_is_no_box() -> None:
    image = [[torch.zeros(1, 8, 8)]]
    one, other = (array(grid(image, titles=[title])) for title in ("σ", "\uffff"))
    assert not np.array_equal(one, other)
    assert (array(grid(image, names=["name"]))[:, :30] < 128).any()


def test_pixels_of_colour_pairs_and_grey() -> None:
    red = torch.zeros(3, 2, 2)
    red[0] = 1
    assert (pixels(red) == [255, 0, 0]).all()
    pair = torch.stack([torch.zeros(2, 2), torch.ones(2, 2)])
    assert pixels(pair)[..., 0].tolist() == [[0, 0, 255, 255]] * 2


def test_reconstructions_show_input_mean_and_a_draw(svae: Subject) -> None:
    found = tiles(pictures.reconstructions(svae), 3, 10)
    assert np.array_equal(found[0], svae.images[:10, 0].numpy())
    expected = svae.decode(svae.mu[:10])
    assert np.array_equal(found[1], (expected[:, 0] * 255).round().byte().numpy())
    assert not np.array_equal(found[1], found[2])
    assert lively(found[:2])
    error = np.abs(found[0].astype(int) - found[1]).mean()
    assert error < np.abs(found[0].astype(int) - np.roll(found[1], 1, axis=0)).mean(), "each is nearest to its own"
    assert found.shape[0] == 3


def test_prior_samples_differ_and_repeat(vae2: Subject, plain: Subject) -> None:
    found = tiles(pictures.prior_samples(vae2), 6, 10)
    assert lively(found)
    assert len(np.unique(found.reshape(60, 64), axis=0)) == 60
    assert np.array_equal(array(pictures.prior_samples(vae2)), array(pictures.prior_samples(vae2)))
    assert not np.array_equal(array(pictures.prior_samples(vae2)), array(pictures.prior_samples(vae2, seed=1)))
    with pytest.raises(UserError, match="plain has no prior"):
        pictures.prior_samples(plain)


@pytest.mark.parametrize("which", ["svae", "cvae"])
def test_a_row_of_the_class_grid_is_of_its_class(which: str, request: pytest.FixtureRequest) -> None:
    subject: Subject = request.getfixturevalue(which)
    found = tiles(pictures.class_grid(subject), 10, 10).astype(float)
    means = np.stack([subject.images[subject.labels == k, 0].float().mean(0).numpy() for k in range(10)])
    distance = ((found.mean(1)[:, None] - means[None]) ** 2).sum((2, 3))
    assert (distance.argmin(1) == np.arange(10)).sum() >= 8, "the row's mean is nearest to the mean of its own class"


def test_the_manifold_changes_along_both_axes(vae2: Subject, svae: Subject) -> None:
    for subject in (vae2, svae):
        found = tiles(pictures.manifold(subject, n=9), 9, 9, gap=0).astype(float)
        assert np.abs(found[:, 0] - found[:, -1]).mean() > 5
        assert np.abs(found[0] - found[-1]).mean() > 5
        neighbours = np.abs(np.diff(found, axis=1)).mean()
        assert neighbours < np.abs(found[:, 0] - found[:, -1]).mean(), "it changes little by little"


def test_the_manifold_lies_at_quantiles(vae2: Subject) -> None:
    axes = vae2.latent_axes
    u = torch.special.ndtri(torch.tensor([0.5 / 5, 2.5 / 5, 4.5 / 5]))
    z = axes.moved(axes.center.expand(1, -1), {0: u[:1], 1: u[2:]})  # leftmost, topmost
    found = tiles(pictures.manifold(vae2, n=5), 5, 5, gap=0)
    assert np.array_equal(found[0, 0], (vae2.decode(z)[0, 0] * 255).round().byte().numpy())


def test_the_manifold_of_the_prior_is_that_of_a_standard_normal(vae2: Subject) -> None:
    first, second = (int(name[1:]) for name in vae2.latent_axes.names)
    z = torch.zeros(1, 2)
    z[0, first], z[0, second] = torch.special.ndtri(torch.tensor([0.9, 0.1]))  # rightmost, lowest
    found = tiles(pictures.manifold(vae2, n=5, prior=True), 5, 5, gap=0)
    assert np.array_equal(found[4, 4], (vae2.decode(z)[0, 0] * 255).round().byte().numpy())


def test_a_model_that_decodes_with_a_label_is_never_given_a_silent_one(cvae: Subject) -> None:
    with pytest.raises(UserError, match="give manifold the one to decode with"):
        pictures.manifold(cvae)
    with pytest.raises(UserError, match="cvae decodes with a label"):
        cvae.decode(cvae.mu[:1])
    three, seven = (tiles(pictures.manifold(cvae, n=3, label=label), 3, 3, gap=0) for label in (3, 7))
    assert not np.array_equal(three, seven)


def test_titles_that_are_too_wide_are_cut_and_lie_on_their_own_column() -> None:
    images = [[torch.zeros(1, 8, 8)] * 2]
    short, long = (array(grid(images, titles=["a", title])) for title in ("", "T-shirt/top and more"))
    assert short.shape == long.shape
    assert np.array_equal(short[:, : SIDE + GAP], long[:, : SIDE + GAP])
    assert not np.array_equal(short, long)


def test_interpolations_go_from_one_to_the_other(svae: Subject) -> None:
    found = tiles(pictures.interpolations(svae, pairs=4, steps=5), 4, 7).astype(float)
    first, last = svae.images[0, 0].numpy(), found[0, -1]
    assert np.array_equal(found[0, 0], first)
    away = np.abs(found[:, 1:6] - found[:, 1:2]).mean((2, 3))
    assert (np.diff(away, axis=1) > 0).all(), "every step is further from the beginning"
    assert not np.array_equal(first, last)


def test_traversals_move_each_axis_by_itself(svae: Subject) -> None:
    found = tiles(traversals.traversals(svae, index=3), 6, 11).astype(float)
    assert lively(found.astype(np.uint8)[:, 5])
    extent = np.abs(found[:, 0] - found[:, -1]).mean((1, 2))
    assert (extent > 1).all(), "every axis changes the image"
    across = np.abs(np.diff(found, axis=1)).mean((1, 2, 3))
    assert (across < extent).all()
    axes = svae.latent_axes
    k = torch.tensor([2.5])
    home = svae.mu[3] - axes.coordinates(svae.mu[3:4])[0, 2] * axes.directions[2]
    right = svae.decode(axes.moved(home.expand(1, -1), {2: k}))[0, 0]
    assert np.array_equal(found[2, -1], (right * 255).round().byte().numpy())


def test_latents_come_by_falling_kl(svae: Subject, plain: Subject) -> None:
    kl = svae.latent_axes.kl
    assert kl is not None
    assert (kl.diff() <= 0).all()
    assert kl.sum() == pytest.approx(float(svae.kl.sum()))  # type: ignore[union-attr]
    assert plain.kl is None
    assert (plain.latent_axes.spread.diff() <= 0).all()


def test_the_animation_moves_all_dimensions_at_once(svae: Subject, tmp_path: Path) -> None:
    moving = traversals.moving(svae)
    moving.save(tmp_path / "it.gif")
    with Image.open(tmp_path / "it.gif") as file:
        frames = np.stack([array(frame) for frame in ImageSequence.Iterator(file)])
        assert file.info["loop"] == 0
    assert len(frames) == 24
    assert frames.std(0).max() > 20
    height = frames.shape[1]
    for dimension in range(6):  # each tile of the one row moves
        tile = frames[:, height - SIDE - GAP : height - GAP, GAP + dimension * (SIDE + GAP) :][:, :, :SIDE]
        assert tile.std(0).max() > 3, dimension
    assert frames[:, :22].std(0).max() > 20, "the title says how far"
    assert (frames[:, 22:40].std(0) == 0).all(), "the names stand still"


def test_an_animation_keeps_frames_that_are_the_same(tmp_path: Path) -> None:
    white, black = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8), "black")
    Animation((white, white, black), 100).save(tmp_path / "it.gif")
    with Image.open(tmp_path / "it.gif") as file:
        total = sum(frame.info["duration"] for frame in ImageSequence.Iterator(file))
    assert total == 300


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(c) for c in array(picture).reshape(-1, 3).tolist()}


def test_scatters_show_every_class(svae: Subject, vae2: Subject) -> None:
    expected = {tuple(bytes.fromhex(color[1:])) for color in scatters.colors(10)}
    for picture in (scatters.scatter(svae), scatters.scatter(vae2), scatters.scatter_matrix(svae)):
        assert len(expected & colours(picture)) >= 9, "the classes' own colours, in the legend at least"
    assert scatters.scatter(svae).size != scatters.scatter_matrix(svae).size


def test_a_scatter_moves_with_the_codes(svae: Subject) -> None:
    other = Subject("svae", svae.model, svae.images.flip(0), svae.labels.flip(0), svae.class_names)
    shifted = Subject("svae", svae.model, svae.images[:100], svae.labels[:100], svae.class_names)
    assert np.abs(array(scatters.scatter(svae)).astype(int) - array(scatters.scatter(shifted))).max() > 100
    assert other.principal_axes.spread.allclose(svae.principal_axes.spread, atol=1e-4)


def test_over_training_the_dots_move_and_the_axes_stay(svae: Subject) -> None:
    last = {name: tensor.clone() for name, tensor in svae.model.state_dict().items()}
    first = {name: tensor * 0.5 for name, tensor in last.items()}
    found = scatters.over_training(svae, [(1, first), (5, last)])
    frames = [array(frame).astype(int) for frame in found.frames]
    assert np.abs(frames[0] - frames[1]).max() > 100
    assert np.array_equal(frames[1], frames[-1])
    assert all(torch.equal(last[name], tensor) for name, tensor in svae.model.state_dict().items())
    with pytest.raises(UserError, match="kept 1 states of its training"):
        scatters.over_training(svae, [(5, last)])


def test_a_transfer_ends_at_the_sources_private_part() -> None:
    model = ConjointVAEConfig(hidden=(32,), latents=3, private=2).build((2, 8, 8), 10)
    initialise(model, 0)
    images = torch.randint(0, 256, (8, 2, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    subject = Subject("conjoint", model.requires_grad_(False), images, torch.zeros(8, dtype=torch.long), ("a",) * 10)
    found = tiles(pictures.transfers(subject, pairs=3, steps=4), 3, 6)
    assert np.array_equal(found[:, 0], images[:3, 0].numpy())
    assert np.array_equal(found[:, -1], images[3:6, 0].numpy())
    assert (np.abs(found[:, 1].astype(int) - found[:, 4]).max((1, 2)) > 0).all(), "the private part moves"


@pytest.mark.parametrize(
    "picture", [pictures.reconstructions, pictures.class_grid, pictures.interpolations, traversals.traversals]
)
def test_without_a_decoder_there_is_nothing_to_show(picture: Callable[[Subject], Image.Image], plain: Subject) -> None:
    with pytest.raises(UserError, match="plain has no decoder"):
        picture(plain)
    with pytest.raises(UserError, match="no conjoint model"):
        pictures.transfers(plain)
