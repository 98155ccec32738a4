from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune.config import get, to_json
from vaetune.errors import UserError
from vaetune.study import Arm, BestOf, Comparison, Study
from vaetune.study.settings import apply, paths


def shared(trial: Any) -> Mapping[str, Any]:
    return {"training.learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)}


def sometimes(trial: Any) -> Mapping[str, Any]:
    return {"model.beta": 0.1} if trial.suggest_categorical("penalty", [True, False]) else {}


STUDY = Study(
    name="demo",
    hypothesis="h",
    space=shared,
    arms=(
        Arm(name="plain", summary="", overrides={"model.bottleneck": "deterministic"}),
        Arm(name="noise", summary="", overrides={"model.bottleneck": "fixed_noise", "model.sigma": 0.3}),
        Arm(name="svae", summary="", overrides={"model.bottleneck": "gaussian"}, space=sometimes),
    ),
    comparisons=(
        Comparison(name="svae − plain", question="", weights=(("svae", 1.0), ("plain", -1.0))),
        Comparison(name="svae − best", question="", weights=(("svae", 1.0), (BestOf(("plain", "noise")), -1.0))),
    ),
    published={"plain": {"us": 0.0138}, "svae": {"us": 0.0113}},
)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("budget.trials=8", 8),
        ("budget.trials= 8 ", 8),
        (" budget.max_failures =1", 1.0),
        ("training.ema=1e-3", 0.001),
        ("replication.refit=true", True),
        ("replication.refit=False", False),
        ("dataset.n_train=none", None),
        ("dataset.n_train=None", None),
        ("dataset.n_train=null", None),
        ("dataset.n_train=100", 100),
        ("dataset.name=digits", "digits"),
        ('dataset.name="digits"', "digits"),
        ("dataset.name=123", "123"),
        ("dataset.name=idx:a=b", "idx:a=b"),
        ("model.trunk=[32, 16]", (32, 16)),
        ("model.decoder=[]", ()),
        ("model.decoder=none", None),
        ("objective.direction=maximize", "maximize"),
        ("objective.unit=nats", "nats"),
        ("resources.gpus=0.25", 0.25),
        ("margin=1", 1.0),
    ],
)
def test_a_value_arrives_with_its_type(assignment: str, value: Any) -> None:
    found = get(apply(STUDY, [assignment])[0], assignment.partition("=")[0].strip())
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("budget.trials=3.0", "--set budget.trials: expected an integer, found '3.0'"),
        ("budget.trials=true", "expected an integer, found 'true'"),
        ("budget.trials=none", "expected an integer, found 'none'"),
        ('budget.trials="3"', "expected an integer"),
        ("budget.trials=", "expected an integer, found ''"),
        ("budget.trials=" + "9" * 5000, "expected an integer"),
        ("margin=NaN", "--set margin: expected a finite number, found 'NaN'"),
        ("margin=1e999", "expected a finite number"),
        ("margin=Infinity", "expected a finite number"),
        ("replication.refit=1", "expected true or false, found '1'"),
        ("dataset.n_train=some", "expected an integer or none, found 'some'"),
        ("model.trunk=128,64", "expected a list, each an integer, found '128,64'"),
        ("model.trunk=[128, 6.5]", "expected a list, each an integer"),
        ("model.trunk=" + "[" * 100_000, "expected a list"),
        ("objective.direction=minimise", "did you mean 'minimize'"),
        ("budget.trails=3", "unknown setting 'budget.trails': did you mean 'budget.trials'"),
        ("trials=3", "unknown setting 'trials': did you mean 'budget.trials'"),
        ("arm=plain", "did you mean 'arms'"),
        ("name=x", "unknown setting 'name'"),
        ("hypothesis=x", "unknown setting 'hypothesis'"),
        ("budget=3", "--set budget: that is a whole section; set one of budget.trials, budget.audit"),
        ("budget.trials.x=3", "unknown setting 'budget.trials.x'"),
        ("model.kind=vae", "unknown setting 'model.kind'"),
        ("budget.trials", "--set 'budget.trials': expected path=value"),
        ("=3", "expected path=value"),
        ("arms=plain,svea", "unknown arm 'svea': did you mean 'svae'"),
        ("arms=", "unknown arm ''"),
    ],
)  # fmt: skip
def test_mistakes_name_path_value_and_type(assignment: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        apply(STUDY, [assignment])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_every_path_is_a_setting_and_the_others_stay() -> None:
    assert "budget.trials" in paths(STUDY)
    assert "margin" in paths(STUDY)
    assert "model.trunk" in paths(STUDY)
    assert all(get(STUDY, path) is not STUDY for path in paths(STUDY))
    changed, notes = apply(STUDY, ["budget.trials=8", "model.latents=3"])
    assert notes == []
    assert (changed.budget.audit, changed.arms, changed.comparisons) == (4, STUDY.arms, STUDY.comparisons)
    assert (STUDY.budget.trials, to_json(STUDY.model)["latents"]) == (16, 64)


def test_a_path_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"--set margin is given twice \(1 and 2\)"):
        apply(STUDY, ["margin=1", "margin=2"])


@pytest.mark.parametrize(("path", "arm"), [("training.learning_rate", "plain"), ("model.beta", "svae")])
def test_what_a_space_draws_cannot_be_set(path: str, arm: str) -> None:
    with pytest.raises(UserError, match=f"--set {path}: the search space of arm '{arm}' draws it"):
        apply(STUDY, [f"{path}=0.01"])


def test_what_only_a_dropped_arm_draws_can_be_set() -> None:
    study, _ = apply(STUDY, ["model.beta=0.5", "arms=plain,noise"])
    assert get(study.model, "beta") == 0.5


def test_what_every_arm_overrides_cannot_be_set_and_what_some_do_is_noted() -> None:
    with pytest.raises(UserError, match=r"--set model.bottleneck: every arm overrides it"):
        apply(STUDY, ["model.bottleneck=gaussian"])
    _, notes = apply(STUDY, ["model.sigma=0.2"])
    assert notes == ["--set model.sigma has no effect in the arms noise, which override it"]


def test_an_override_of_the_whole_model_counts_for_each_of_its_fields() -> None:
    arm = Arm(name="a", summary="", overrides={"model": STUDY.model})
    with pytest.raises(UserError, match="every arm overrides it"):
        apply(Study(name="s", hypothesis="", arms=(arm,)), ["model.latents=3"])


def test_arms_keeps_their_order_and_drops_what_needs_others_with_a_note() -> None:
    study, notes = apply(STUDY, ["arms=svae, plain"])
    assert [arm.name for arm in study.arms] == ["plain", "svae"]
    assert [c.name for c in study.comparisons] == ["svae − plain"]
    assert notes == ["comparison 'svae − best' is dropped: it needs the arms noise"]
    assert study.published == STUDY.published
    assert apply(STUDY, ["arms=plain"])[0].published == {"plain": {"us": 0.0138}}
    assert apply(STUDY, ["arms=plain,noise,svae"]) == (STUDY, [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(
    path=st.sampled_from([*paths(STUDY), "arms"]) | st.text(max_size=12), value=st.text(max_size=12) | JSON.map(repr)
)
def test_any_assignment_is_applied_or_a_user_error(path: str, value: str) -> None:
    with contextlib.suppress(UserError):
        study, _ = apply(STUDY, [f"{path}={value}"])
        assert all(type(get(study, p)) in (type(get(STUDY, p)), int, type(None), tuple) for p in paths(STUDY))


@given(st.lists(st.text(max_size=20), max_size=3))
def test_any_list_of_texts_is_applied_or_a_user_error(assignments: list[str]) -> None:
    with contextlib.suppress(UserError):
        assert isinstance(apply(STUDY, assignments)[0], Study)
