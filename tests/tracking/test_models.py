"""What is published, on a real SQLite database: logged, registered, and crowned only when better."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vaetune.errors import UserError
from vaetune.models.base import initialise
from vaetune.models.configs import CVAEConfig, SupervisedVAEConfig
from vaetune.models.decoding import decodes
from vaetune.tracking import Tracker, download, pictures
from vaetune.tracking.card import card
from vaetune.tracking.models import Release
from vaetune.tracking.parts import parts
from vaetune.tracking.publisher import Publisher

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([3, 1, 4, 1])


def model(**changes: Any) -> Any:
    changes |= {"reconstruction": 0.01} if "decoder" in changes else {}
    made = SupervisedVAEConfig(trunk=(16,), latents=4, bottleneck="gaussian", **changes).build((1, 8, 8), 10)
    initialise(made, 0)
    return made.requires_grad_(False)


@pytest.fixture
def published(uri: str, make: Callable[..., Tracker]) -> Callable[..., tuple[Publisher, Release]]:
    """An execution with one replicate in MLflow, and what is to be released of it."""

    def publish(run: str, score: float = 0.1, **changes: Any) -> tuple[Publisher, Release]:
        tracker = make(uri, run=run)
        tracker.begin("svae-rep00", "svae-rep00", {"vaetune.kind": "replicate"}, {"beta": 1}, 1)
        tracker.close("finished")
        release = Release(
            study="study",
            arm="svae",
            run=run,
            replicate_id="svae-rep00",
            parts=parts(model(decoder=(16,)), IMAGES, LABELS),
            files={"config.json": b"{}", "weights.safetensors": b"\0"},
            card="# A card",
            score=score,
            minimize=True,
            basis="b",
        )
        return Publisher(uri, "study", run), replace(release, **changes)

    return publish


@pytest.fixture
def as_a_user(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own functions at the database, as one who loads a model sets it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)


def champion(client: Any) -> str:
    return str(client.get_model_version_by_alias("study-svae", "champion").tags["vaetune.run"])


@pytest.mark.usefixtures("as_a_user")
def test_a_release_is_logged_registered_and_loads_again(
    published: Callable[..., Any], uri: str, client: Callable[[str], Any], tmp_path: Path
) -> None:
    import mlflow

    publisher, release = published("R1")
    assert publisher.model(release) == "new champion"
    mine = client(uri)
    (version,) = mine.search_model_versions("name = 'study-svae'")
    assert version.description == "# A card"
    logged = {part: mine.get_logged_model(version.tags[f"vaetune.{part}"].partition("/")[2]) for part in release.parts}
    assert set(logged) == {"classifier", "encoder", "decoder"}
    for part, entry in logged.items():
        path = mlflow.artifacts.download_artifacts(entry.artifact_location, dst_path=str(tmp_path / part))
        assert Path(path, "checkpoint/weights.safetensors").read_bytes() == b"\0"
        assert Path(path, "README.md").read_text() == "# A card"
        info = mlflow.models.get_model_info(path)
        assert info.signature.inputs.inputs[0].shape[0] == -1
        again = mlflow.pytorch.load_model(path)
        for size in (1, 3):  # any batch, not the example's
            examples = [example[:size] for example in release.parts[part].examples.values()]
            assert torch.allclose(again(*examples), release.parts[part].module(*examples), atol=1e-6)
    as_the_card_says = mlflow.pytorch.load_model("models:/study-svae@champion")
    assert torch.allclose(as_the_card_says(IMAGES), release.parts["classifier"].module(IMAGES), atol=1e-6)


@pytest.mark.usefixtures("as_a_user")
def test_a_conditional_model_is_told_the_labels_there_too(
    published: Callable[..., Any], uri: str, client: Callable[[str], Any], tmp_path: Path
) -> None:
    import mlflow

    cvae = CVAEConfig(hidden=(16,), latents=4).build((1, 8, 8), 10)
    initialise(cvae, 0)
    found = parts(cvae.requires_grad_(False), IMAGES, LABELS)
    publisher, release = published("R1", parts=found)
    publisher.model(release)
    (version,) = client(uri).search_model_versions("name = 'study-svae'")
    for part, inputs in {"encoder": ["x", "y"], "decoder": ["z", "y"]}.items():
        entry = client(uri).get_logged_model(version.tags[f"vaetune.{part}"].partition("/")[2])
        path = mlflow.artifacts.download_artifacts(entry.artifact_location, dst_path=str(tmp_path / part))
        assert mlflow.models.get_model_info(path).signature.inputs.input_names() == inputs
        again, examples = mlflow.pytorch.load_model(path), [each[:3] for each in found[part].examples.values()]
        assert torch.allclose(again(*examples), found[part].module(*examples), atol=1e-6)
        assert not torch.allclose(again(*examples), again(examples[0], examples[1] + 1), atol=1e-3)


def test_publishing_again_makes_no_second_version(
    published: Callable[..., Any], uri: str, client: Callable[[str], Any]
) -> None:
    publisher, release = published("R1")
    publisher.model(release)
    assert publisher.model(release) == "champion before and after"
    assert len(client(uri).search_model_versions("name = 'study-svae'")) == 1


@pytest.mark.parametrize(
    ("changes", "moves", "word"),
    [
        ({"score": 0.05}, True, "new champion"),
        ({"score": 0.1}, False, "not better"),
        ({"score": 0.2}, False, "not better"),
        ({"score": 0.05, "basis": "other"}, False, "other data"),
        ({"score": 0.05, "minimize": False}, False, "not better"),
    ],
)
def test_only_a_better_execution_moves_the_alias(
    changes: dict[str, Any],
    moves: bool,
    word: str,
    published: Callable[..., Any],
    uri: str,
    client: Callable[[str], Any],
) -> None:
    first, release = published("R1")
    first.model(release)
    second, release = published("R2", **changes)
    assert word in second.model(release)
    assert champion(client(uri)) == ("R2" if moves else "R1")


def test_logging_a_part_takes_less_than_a_second(published: Callable[..., Any]) -> None:
    first, release = published("R1")
    first.model(release)  # what torch.export and MLflow import on first use
    second, release = published("R2")
    started = time.process_time()
    second.model(release)
    assert (time.process_time() - started) / len(release.parts) < 1


def test_a_replicate_that_is_not_there_is_one_clear_line(published: Callable[..., Any]) -> None:
    publisher, release = published("R1")
    with pytest.raises(UserError, match="has no run of svae-rep09") as error:
        publisher.model(replace(release, replicate_id="svae-rep09"))
    assert "\n" not in str(error.value)


def test_an_execution_that_is_not_there_is_one_clear_line(published: Callable[..., Any], uri: str) -> None:
    published("R1")
    with pytest.raises(UserError, match="does not know the execution R9"):
        Publisher(uri, "study", "R9")


def test_pictures_are_shown_once(published: Callable[..., Any], uri: str, client: Callable[[str], Any]) -> None:
    made = model(decoder=(16,))
    assert decodes(made)
    for _ in range(2):
        publisher, _ = published("R1")
        for step in (1, 10):
            publisher.picture(pictures.reconstructions(made, IMAGES, LABELS), "svae/reconstruction", step)
    files = client(uri).list_artifacts(publisher.ids[1], "images")
    assert len([file for file in files if file.path.endswith(".png")]) == 2


def test_pictures_are_grids_of_images() -> None:
    made = model(decoder=(16,))
    assert decodes(made)
    shown = pictures.reconstructions(made, IMAGES, LABELS)
    assert (shown.shape, shown.dtype) == ((2 * 9 - 1, 4 * 9 - 1, 3), np.uint8)
    assert np.array_equal(shown[:8, :8, 0], (IMAGES[0, 0] * 255).round().byte().numpy())
    assert pictures.traversals(made, IMAGES, LABELS).shape == (4 * 9 - 1, pictures.STEPS * 9 - 1, 3)


def test_pictures_of_a_conditional_model_are_of_the_images_own_labels() -> None:
    made = CVAEConfig(hidden=(16,), latents=4).build((1, 8, 8), 10)
    initialise(made, 0)
    for picture in (pictures.reconstructions, pictures.traversals):
        assert np.array_equal(picture(made, IMAGES, LABELS), picture(made, IMAGES, LABELS))
        assert not np.array_equal(picture(made, IMAGES, LABELS), picture(made, IMAGES, LABELS + 1))


@pytest.mark.parametrize(("channels", "abreast"), [(1, 1), (3, 1), (2, 2), (4, 4), (6, 2)])
def test_several_images_on_the_channels_stand_side_by_side(channels: int, abreast: int) -> None:
    image = torch.linspace(0, 1, channels).reshape(-1, 1, 1).expand(-1, 5, 5)
    shown = pictures.grid([[image]])
    assert shown.shape == (5, 5 * abreast, 3)
    assert np.array_equal(
        shown[0, -1], np.broadcast_to((image[-3:] if channels % 3 == 0 else image[-1:])[:, 0, 0] * 255, 3).round()
    )


def test_a_model_without_decoder_has_no_decoder_part() -> None:
    assert set(parts(model(), IMAGES, LABELS)) == {"classifier", "encoder"}
    assert not decodes(model())


def test_the_card_gives_means_with_intervals_and_says_how_to_load() -> None:
    study = {
        "name": "s",
        "run": "R",
        "objective": {"metric": "val/error"},
        "dataset_info": {"name": "digits", "digest": "a" * 64, "n_train": 1000, "n_validation": 300, "test": 360},
    }
    row = {"replicates": 8, "test/error": 0.1, "test/error_low": 0.08, "test/error_high": 0.12}
    row |= {"test/nll": 0.4, "test/nll_half": 0.05, "val/error": float("nan"), "val/error_half": float("nan")}
    text = card(study, {"name": "svae", "summary": "noise"}, row, "svae-rep03", 12345, ["classifier", "encoder"])
    assert "| test error | 0.1000 | 0.0800 to 0.1200 |" in text
    assert "| test NLL, nats | 0.4000 | 0.3500 to 0.4500 |" in text
    assert "validation error |" not in text
    assert "models:/s-svae@champion" in text
    assert "svae-rep03" in text


def test_the_checkpoint_of_a_published_model_is_downloaded(published: Callable[..., Any], uri: str) -> None:
    publisher, release = published("one")
    publisher.model(release)
    found = download.checkpoint("models:/study-svae@champion", uri)
    assert found == release.files
    with pytest.raises(UserError, match="no checkpoint of vaetune to be had"):
        download.checkpoint("models:/study-nobody@champion", uri)
