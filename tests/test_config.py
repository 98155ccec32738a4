"""Configurations, their strict JSON, their overrides and the identities taken from them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune import config
from vaetune.config import Configuration, DatasetConfig, ModelConfig, TrainingConfig
from vaetune.errors import UserError
from vaetune.models.configs import CATALOGUE, SupervisedVAEConfig

CONFIGURATION = Configuration(model=SupervisedVAEConfig(), training=TrainingConfig(), dataset=DatasetConfig())
FINITE = st.floats(allow_nan=False, allow_infinity=False)
MODELS = st.builds(
    SupervisedVAEConfig,
    trunk=st.lists(st.integers(1, 9), max_size=3).map(tuple),
    bottleneck=st.sampled_from(["deterministic", "gaussian"]),
    beta=FINITE,
    decoder=st.none() | st.lists(st.integers(1, 9), max_size=2).map(tuple),
)
CONFIGURATIONS = st.builds(
    Configuration,
    model=MODELS,
    training=st.builds(TrainingConfig, epochs=st.integers(), learning_rate=FINITE),
    dataset=st.builds(DatasetConfig, name=st.text(), n_train=st.none() | st.integers()),
)


@given(CONFIGURATIONS)
def test_json_there_and_back_is_the_same(configuration: Configuration) -> None:
    text = json.dumps(config.to_json(configuration))
    assert config.from_json(Configuration, json.loads(text)) == configuration


@pytest.mark.parametrize("kind", CATALOGUE)
def test_every_model_comes_back_by_its_kind(kind: str) -> None:
    model = CATALOGUE[kind]()
    data = config.to_json(model)
    assert data["kind"] == kind
    assert config.from_json(ModelConfig, data) == model
    assert config.from_json(CATALOGUE[kind], {k: v for k, v in data.items() if k != "kind"}) == model


def changed(path: str, value: Any) -> dict[str, Any]:
    data = config.to_json(CONFIGURATION)
    inner = data
    *heads, last = path.split(".")
    for head in heads:
        inner = inner[head]
    inner[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training.epoch", 3, "unknown key 'training.epoch': did you mean 'training.epochs'"),
        ("model.betta", 3.0, "unknown key 'model.betta': did you mean 'model.beta'"),
        ("seed", 3, "unknown key 'seed'"),
        ("training.epochs", 3.0, "training.epochs: expected int, found 3.0"),
        ("training.epochs", True, "training.epochs: expected int, found True"),
        ("training.epochs", None, "training.epochs: expected int, found None"),
        ("training.learning_rate", "1e-3", "training.learning_rate: expected float, found '1e-3'"),
        ("training.learning_rate", True, "training.learning_rate: expected float, found True"),
        ("training.learning_rate", float("nan"), "training.learning_rate: expected float, found nan"),
        ("training.learning_rate", float("inf"), "training.learning_rate: expected float, found inf"),
        ("dataset.name", 3, "dataset.name: expected str, found 3"),
        ("dataset.n_train", "all", "dataset.n_train: expected int, found 'all'"),
        ("model.trunk", 256, "model.trunk: expected a list, found 256"),
        ("model.trunk", [256, 2.5], "model.trunk[1]: expected int, found 2.5"),
        ("model.bottleneck", "gausian", "unknown value for model.bottleneck: 'gausian': did you mean 'gaussian'"),
        ("model.kind", "supervised_va", "unknown model 'supervised_va': did you mean 'supervised_vae'"),
        ("model.kind", ["vae"], "unknown model"),
        ("model.kind", None, "unknown model 'None'"),
        ("training", [], "training.: expected an object, found []"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        config.from_json(Configuration, changed(path, value))
    assert message in str(error.value)


def test_a_missing_key_is_named() -> None:
    data = config.to_json(CONFIGURATION)
    del data["dataset"]
    with pytest.raises(UserError, match="missing key dataset"):
        config.from_json(Configuration, data)


def test_a_model_of_another_kind_than_asked_for_is_refused() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(ModelConfig):
        kind = "other"
        width: int = 3

    assert config.from_json(Other, {"kind": "other", "width": 4}) == Other(width=4)
    with pytest.raises(UserError, match="unknown model 'supervised_vae'"):
        config.from_json(Other, {"kind": "supervised_vae"})


def test_whole_numbers_become_floats_where_floats_are_due() -> None:
    data = changed("training.learning_rate", 1)
    value = config.from_json(Configuration, data).training.learning_rate
    assert value == 1.0
    assert type(value) is float


def test_get_and_override_follow_dotted_paths() -> None:
    new = config.override(CONFIGURATION, {"model.beta": 2, "model.trunk": [8], "dataset.n_train": 50})
    assert [config.get(new, p) for p in ("model.beta", "model.trunk", "dataset.n_train")] == [2.0, (8,), 50]
    assert type(new.model.beta) is float  # type: ignore[attr-defined]
    assert new.training == CONFIGURATION.training
    assert config.get(CONFIGURATION, "model.beta") == 1.0
    assert config.override(new, {"dataset.n_train": None}).dataset == CONFIGURATION.dataset


def test_a_whole_section_can_be_replaced() -> None:
    model = SupervisedVAEConfig(latents=3)
    assert config.override(CONFIGURATION, {"model": model}).model == model


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.betta", 1.0, "unknown setting 'model.betta': did you mean 'model.beta'"),
        ("training.epochs.x", 1, "unknown setting 'training.epochs.x'"),
        ("modle.beta", 1.0, "unknown setting 'modle.beta'"),
        ("training.epochs", 1.5, "training.epochs: expected int, found 1.5"),
        ("model.bottleneck", "none", "unknown value for model.bottleneck: 'none'"),
    ],
)
def test_wrong_overrides_are_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        config.override(CONFIGURATION, {path: value})
    assert message in str(error.value)


def test_get_names_what_is_not_there() -> None:
    with pytest.raises(UserError, match="unknown setting 'epoch'"):
        config.get(CONFIGURATION, "training.epoch")


def test_flatten_gives_dotted_paths() -> None:
    flat = config.flatten(CONFIGURATION)
    assert flat["model.kind"] == "supervised_vae"
    assert flat["training.learning_rate"] == 1e-3
    assert flat["model.trunk"] == [256, 256]
    assert flat["dataset.n_train"] is None
    assert config.flatten({"a": {"b": 1}, "c": 2}) == {"a.b": 1, "c": 2}


PER_MEMBER = {
    *("learning_rate", "weight_decay", "sigma", "beta", "dropout", "latent_dropout"),
    *("label_smoothing", "confidence_penalty", "logit_penalty", "reconstruction"),
}


@pytest.mark.parametrize("section", ["model", "training", "dataset"])
def test_members_share_everything_but_the_numbers_of_their_own(section: str) -> None:
    for field in dataclasses.fields(getattr(CONFIGURATION, section)):
        value = config.get(CONFIGURATION, f"{section}.{field.name}")
        with_value = {
            f"{section}.{field.name}": (value or 0.0) + 0.25 if isinstance(value, float) else OTHER[field.name]
        }
        other = config.override(CONFIGURATION, with_value)
        groups = config.architecture(other) == config.architecture(CONFIGURATION)
        # A number of a member's own keeps it in the group unless it was zero: then a term is added.
        assert groups == (field.name in PER_MEMBER and bool(value)), field.name


OTHER = {
    "trunk": [8],
    "latents": 3,
    "bottleneck": "gaussian",
    "convolutions": {"channels": [2], "kernels": [3], "strides": [1], "paddings": [1]},
    "decoder": [4],
    "epochs": 31,
    "batch_size": 3,
    "schedule": "cosine",
    "precision": "bf16",
    "decay_every": 2,
    "penalty_warmup": 1,
    "patience": 1,
    "pretrained": "there",
    "pretrained_parts": ["trunk"],
    "name": "digits",
    "n_train": 7,
    "n_validation": 8,
}


def test_numbers_that_stay_above_zero_stay_in_the_group() -> None:
    some = config.override(CONFIGURATION, {"model.dropout": 0.1, "training.weight_decay": 0.1})
    more = config.override(CONFIGURATION, {"model.dropout": 0.9, "training.weight_decay": 3.0})
    assert config.architecture(some) == config.architecture(more) != config.architecture(CONFIGURATION)


@pytest.mark.parametrize("section", ["model", "training", "dataset"])
def test_every_setting_is_part_of_the_digest(section: str) -> None:
    for field in dataclasses.fields(getattr(CONFIGURATION, section)):
        value = config.get(CONFIGURATION, f"{section}.{field.name}")
        other = value + 0.25 if isinstance(value, float) else OTHER[field.name]
        new = config.override(CONFIGURATION, {f"{section}.{field.name}": other})
        assert config.digest(new) != config.digest(CONFIGURATION), field.name


def test_the_digest_is_of_values_and_not_of_their_order() -> None:
    assert config.digest({"a": 1, "b": [2, 3]}) == config.digest({"b": [2, 3], "a": 1}) == "efbd0040190fb087"
    copy = config.from_json(Configuration, config.to_json(CONFIGURATION))
    assert config.digest(copy) == config.digest(CONFIGURATION)


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        config.canonical({"x": float("nan")})


def test_configurations_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONFIGURATION.training.epochs = 3  # type: ignore[misc]
