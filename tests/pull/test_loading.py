from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vaetune
from vaetune.datasets import open_dataset
from vaetune.datasets.splits import split
from vaetune.errors import UserError
from vaetune.pull.loading import load, load_all

RUN = "20260102-030405-abcd"


def test_the_best_replicate_of_an_arm_by_validation(folder: Path, root: Path) -> None:
    for source in (folder, str(folder), folder.parent, f"{folder.parent}/"):
        found = load(source, "svae")
        assert (found.id, found.arm, found.study, found.run) == ("svae-rep01", "svae", "toy", RUN)
    assert load(RUN, "plain", storage=str(root)).id == "plain-rep01"
    assert load(folder, id="svae-rep02").id == "svae-rep02"


def test_it_has_what_was_measured_and_how_it_was_trained(folder: Path) -> None:
    found = load(folder, "svae")
    assert found.metrics == {"val/error": 0.1, "val/nll": 0.5, "test/error": pytest.approx(0.15), "train/loss": 1.0}
    assert found.config.training.epochs == 2
    assert found.config.model.kind == "supervised_vae"


def test_it_encodes_decodes_and_predicts_as_its_model_does(folder: Path) -> None:
    found = load(folder, "svae")
    images, _ = found.data()
    x = images.float() / 255
    code = found.model.code(x)  # type: ignore[operator]
    assert torch.equal(found.encode(images), code.mu)
    assert torch.equal(found.predict(images), found.model.predict(x).softmax(-1))  # type: ignore[operator]
    assert found.decode(code.mu).shape == (50, 1, 8, 8)
    assert not torch.equal(found.predict(images, samples=3), found.predict(images))
    assert torch.equal(found.predict(images, samples=3), found.predict(images, samples=3))
    assert not any(p.requires_grad for p in found.model.parameters())


def test_its_data_are_those_of_its_own_split(folder: Path) -> None:
    found = load(folder, id="plain-rep02")
    everything = open_dataset("digits").development()
    train, validation = split(everything.labels, 50, 100, 2)
    assert torch.equal(found.data("train")[0], torch.from_numpy(everything.images[train]))
    assert torch.equal(found.data()[1], torch.from_numpy(everything.labels[validation]))
    with pytest.raises(UserError, match="unknown split 'test': known: train, validation"):
        found.data("test")


def test_the_transform_takes_images_as_people_have_them(folder: Path) -> None:
    found = load(folder, "svae")
    images, _ = found.data()
    as_bytes = images[:2].numpy()
    expected = found.transform(images[:2])
    assert expected.dtype == torch.float32
    assert expected.max() == 1
    for same in (as_bytes, as_bytes[:, 0], as_bytes / 255, [Image.fromarray(each[0]) for each in as_bytes]):
        assert torch.allclose(found.transform(same), expected)
    assert found.transform(as_bytes[0, 0]).shape == (1, 1, 8, 8)
    assert found.transform(Image.new("RGB", (28, 28))).shape == (1, 1, 8, 8)
    for wrong, said in (
        (np.zeros((2, 3, 8, 8), np.uint8), "this model takes 1x8x8"),
        (np.full((1, 1, 8, 8), 2.0), "must be in"),
        (np.full((1, 1, 8, 8), np.nan), "must be in"),
        (np.zeros((1, 1, 8, 8), np.int64), "give uint8"),
    ):
        with pytest.raises(UserError, match=said):
            found.transform(wrong)


def test_all_models_that_match(folder: Path, root: Path) -> None:
    assert len(load_all(folder)) == 6
    assert [m.id for m in load_all(folder, {"arm": "svae"})] == ["svae-rep00", "svae-rep01", "svae-rep02"]
    assert {m.arm for m in load_all(RUN, {"model.bottleneck": "gaussian"}, storage=str(root))} == {"svae"}
    assert {m.arm for m in load_all(folder, {"model.beta": lambda beta: beta > 0.1})} == {"plain"}
    assert load_all(folder, {"arm": "svae", "training.epochs": 3}) == []
    with pytest.raises(UserError, match=r"unknown parameter 'model.bta': did you mean 'model.beta'"):
        load_all(folder, {"model.bta": 1})


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("{folder}", {}, "which arm of .* plain, svae"),
        ("{folder}", {"arm": "svea"}, "unknown arm .* 'svea': did you mean 'svae'"),
        ("{folder}", {"id": "svae-rep09"}, "unknown checkpoint .* did you mean 'svae-rep0"),
        ("{folder}", {"id": "../../toy"}, "unknown checkpoint"),
        ("{folder}/report", {"arm": "svae"}, "is no result: expected study.json"),
        ("./nowhere", {"arm": "svae"}, "is no result"),
        ("20260102-030405-ffff", {"arm": "svae"}, "there is no MLflow database"),
        ("toy", {"arm": "svae"}, "there is no MLflow database .*mlflow.db: run a study first"),
        ("{folder}", {"arm": "svae", "device": "quantum"}, "device 'quantum' cannot be used here"),
    ],
)
def test_a_mistake_is_told_with_the_way_out(
    folder: Path, root: Path, source: str, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=said):
        load(source.format(folder=folder), storage=str(root), **options)


def checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "svae-rep01"


def test_a_truncated_file_is_refused(folder: Path) -> None:
    for name in ("weights.safetensors", "config.json", "manifest.json"):
        whole = (checkpoint(folder) / name).read_bytes()
        (checkpoint(folder) / name).write_bytes(whole[:-7])
        with pytest.raises(UserError, match=f"{name} is damaged"):
            load(folder, "svae")
        (checkpoint(folder) / name).write_bytes(whole)
    (checkpoint(folder) / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"weights.safetensors is missing"):
        load(folder, "svae")


def test_damage_is_told_by_load_all_too(folder: Path) -> None:
    (checkpoint(folder) / "config.json").write_bytes(b"{")
    with pytest.raises(UserError, match=r"svae-rep01/config.json is damaged"):
        load_all(folder)


def test_other_weights_of_the_same_size_are_refused(folder: Path) -> None:
    other = folder / "checkpoints" / "svae-rep02" / "weights.safetensors"
    shutil.copy(other, checkpoint(folder) / "weights.safetensors")
    with pytest.raises(UserError, match="size or hash differs"):
        load(folder, "svae")


def test_another_format_is_refused(folder: Path, sealed: Callable[..., None]) -> None:
    sealed(checkpoint(folder), {}, format=2)
    with pytest.raises(UserError, match="format 2, this vaetune reads 1"):
        load(folder, "svae")


@pytest.mark.parametrize("trick", ["../../../secret", "/etc/passwd", "weights.safetensors/../x", "..\\x", ""])
def test_a_manifest_names_no_other_files(folder: Path, trick: str) -> None:
    path = checkpoint(folder) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][trick] = manifest["files"]["config.json"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="not the files of a checkpoint; do not use it"):
        load(folder, "svae")


def test_weights_that_are_a_pickle_are_refused_and_not_opened(
    folder: Path, sealed: Callable[..., None], tmp_path: Path
) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    sealed(checkpoint(folder), {"weights.safetensors": pickle.dumps(Bomb())})
    with pytest.raises(UserError, match="not readable"):
        load(folder, "svae")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("configuration", "model", "kind"), "hypervae", "unknown model 'hypervae'.*model_class"),
        (("configuration", "model", "novelty"), 1, "unknown key 'model.novelty'.*another version"),
        (("configuration", "model", "trunk"), [17], "the weights are not of this configuration: bottleneck"),
        (("configuration", "training", "epochs"), "many", r"training.epochs: expected int"),
        (("shape",), "8x8", "another version"),
        (("classes",), None, "another version"),
        (("configuration",), None, "another version"),
        (("history",), [{}], "another version"),
    ],
)
def test_a_configuration_of_another_version_is_refused(
    folder: Path, sealed: Callable[..., None], path: tuple[str, ...], value: Any, said: str
) -> None:
    facts = json.loads((checkpoint(folder) / "config.json").read_text())
    place = facts
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    sealed(checkpoint(folder), {"config.json": json.dumps(facts).encode()})
    with pytest.raises(UserError, match=said):
        load(folder, "svae")


def test_tables(folder: Path, root: Path) -> None:
    found = vaetune.tables(folder)
    assert found._fields == ("ledger", "history", "replicates")
    assert len(found.replicates) == 6
    assert len(found.history) == 6, "what was told twice is there once"
    for source in ("toy", RUN):
        assert vaetune.tables(source, storage=str(root)).replicates.equals(found.replicates)
    with pytest.raises(UserError, match=r"unknown study below .* 'tyo': did you mean 'toy'"):
        vaetune.tables("tyo", storage=str(root))
