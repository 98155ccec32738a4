from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune.errors import UserError
from vaetune.study import Arm, Study
from vaetune.study.space import Recorder, combined, configuration, covers, describe, draws

ARM = Arm(name="plain", summary="the plain one")


def study(space: Any = lambda trial: {}, arm: Arm = ARM) -> Study:
    return Study(name="s", hypothesis="h", arms=(arm,), space=space)


def recorder() -> Recorder:
    return Recorder("0", {})


def everything(trial: Any) -> Mapping[str, Any]:
    kind = trial.suggest_categorical("kind", ["a", None, 1, 1.5, True])
    out = {"k": kind, "x": trial.suggest_float("x", 1e-4, 1.0, log=True), "n": trial.suggest_int("n", 1, 9, step=3)}
    if kind == "a":
        out["y"] = trial.suggest_float("y", 0.0, 1.0, step=0.3)
    out["m"] = trial.suggest_int("m", 1, 64, log=True)
    return out


def test_describe_gives_every_hyperparameter_in_order_of_first_appearance() -> None:
    entries = describe(everything)
    assert sorted(e["name"] for e in entries) == ["kind", "m", "n", "x", "y"]
    by_name = {e.pop("name"): e for e in entries}
    assert by_name["kind"] == {"kind": "categorical", "choices": ["a", None, 1, 1.5, True]}
    assert by_name["x"] == {"kind": "float", "low": 1e-4, "high": 1.0, "log": True}
    assert by_name["n"] == {"kind": "int", "low": 1, "high": 7, "log": False, "step": 3}
    assert by_name["m"] == {"kind": "int", "low": 1, "high": 64, "log": True}
    assert by_name["y"] == {
        "kind": "float", "low": 0.0, "high": pytest.approx(0.9), "log": False, "step": 0.3, "conditional": True,
    }  # fmt: skip
    assert [e["name"] for e in describe(lambda t: {"b": t.suggest_int("b", 0, 1), "a": t.suggest_int("a", 0, 1)})] == [
        "b",
        "a",
    ]


def test_draws_are_a_function_of_the_seed_and_differ_between_draws() -> None:
    first, again, other = (list(draws(everything, 20, seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert len({params["x"] for params, _ in first}) == 20
    assert all(overrides["x"] == params["x"] for params, overrides in first)


def test_shared_hyperparameters_are_drawn_the_same_in_every_arm() -> None:
    def shared(trial: Any) -> Mapping[str, Any]:
        return {"training.epochs": trial.suggest_int("epochs", 10, 60)}

    def own(trial: Any) -> Mapping[str, Any]:
        return {"model.beta": trial.suggest_float("beta", 0, 1)}

    plain, svae = ARM, Arm(name="svae", summary="", space=own)
    both = Study(name="s", hypothesis="h", arms=(plain, svae), space=shared)
    epochs = [[o["training.epochs"] for _, o in draws(combined(both, arm), 30)] for arm in both.arms]
    assert epochs[0] == epochs[1]
    assert len(set(epochs[0])) > 10


@given(low=st.floats(-1e6, 1e6), width=st.floats(0, 1e6), seed=st.text(max_size=5))
def test_floats_stay_in_their_range(low: float, width: float, seed: str) -> None:
    value = Recorder(seed, {}).suggest_float("x", low, low + width)
    assert low <= value <= low + width


@given(low=st.floats(1e-9, 1e6), factor=st.floats(1, 1e6), seed=st.text(max_size=5))
def test_log_floats_stay_in_their_range(low: float, factor: float, seed: str) -> None:
    assert low <= Recorder(seed, {}).suggest_float("x", low, low * factor, log=True) <= low * factor


@given(low=st.integers(-50, 50), width=st.integers(0, 99), step=st.integers(1, 9), seed=st.text(max_size=5))
def test_ints_lie_on_their_grid(low: int, width: int, step: int, seed: str) -> None:
    value = Recorder(seed, {}).suggest_int("n", low, low + width, step=step)
    assert low <= value <= low + width
    assert (value - low) % step == 0


@given(low=st.integers(1, 50), width=st.integers(0, 99), seed=st.text(max_size=5))
def test_log_ints_stay_in_their_range(low: int, width: int, seed: str) -> None:
    value = Recorder(seed, {}).suggest_int("n", low, low + width, log=True)
    assert low <= value <= low + width
    assert isinstance(value, int)


def test_draws_are_uniform_and_log_uniform() -> None:
    def space(t: Any) -> Mapping[str, Any]:
        return {"u": t.suggest_float("u", 0, 10), "l": t.suggest_float("l", 1e-4, 1.0, log=True)}

    values = [overrides for _, overrides in draws(space, 2000)]
    assert sum(v["u"] for v in values) / 2000 == pytest.approx(5, abs=0.3)
    assert sum(math.log10(v["l"]) for v in values) / 2000 == pytest.approx(-2, abs=0.12)


def test_every_choice_and_both_ends_come_up() -> None:
    values = [
        o for _, o in draws(lambda t: {"c": t.suggest_categorical("c", "abc"), "n": t.suggest_int("n", 1, 3)}, 200)
    ]
    assert {v["c"] for v in values} == set("abc")
    assert {v["n"] for v in values} == {1, 2, 3}


def test_hyperparameters_of_one_draw_are_independent() -> None:
    values = [o for _, o in draws(lambda t: {name: t.suggest_float(name, 0, 1) for name in "ab"}, 2000)]
    assert sum((v["a"] - 0.5) * (v["b"] - 0.5) for v in values) / 2000 == pytest.approx(0, abs=0.01)


def test_what_a_single_draw_goes_without_is_conditional() -> None:
    asked: list[bool] = []

    def space(trial: Any) -> Mapping[str, Any]:
        asked.append(True)
        return {"x": trial.suggest_float("x", 0, 1)} if len(asked) != 7 else {}

    assert describe(space)[0]["conditional"] is True
    assert "conditional" not in describe(space)[0]


def test_a_name_asked_again_with_the_same_range_keeps_its_value() -> None:
    trial = recorder()
    assert trial.suggest_float("x", 0, 1) == trial.suggest_float("x", 0.0, 1.0)


@pytest.mark.parametrize(
    "second",
    [
        lambda t: t.suggest_float("x", 0, 2),
        lambda t: t.suggest_float("x", 0, 1, step=0.5),
        lambda t: t.suggest_int("x", 0, 1),
        lambda t: t.suggest_categorical("x", [0.0, 1.0]),
    ],
)
def test_a_name_with_two_ranges_is_refused(second: Any) -> None:
    trial = recorder()
    trial.suggest_float("x", 0, 1)
    with pytest.raises(UserError, match="'x' has two ranges"):
        second(trial)


def test_a_range_that_moves_between_draws_is_refused() -> None:
    with pytest.raises(UserError, match="two ranges"):
        describe(lambda t: {"y": t.suggest_float("y", 0, t.suggest_float("x", 1, 2))})


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.suggest_float("x", 1, 0), "low ≤ high"),
        (lambda t: t.suggest_float("x", 0, math.inf), "finite"),
        (lambda t: t.suggest_float("x", math.nan, 1), "finite"),
        (lambda t: t.suggest_float("x", 0, 1, log=True), "positive low"),
        (lambda t: t.suggest_float("x", 0.1, 1, log=True, step=0.1), "do not go together"),
        (lambda t: t.suggest_float("x", 0, 1, step=0), "step must be positive"),
        (lambda t: t.suggest_int("x", 0, 8, log=True), "positive low"),
        (lambda t: t.suggest_int("x", 0, 8.5), "integers"),
        (lambda t: t.suggest_int("x", 0, 8, step=-1), "step must be positive"),
        (lambda t: t.suggest_categorical("x", []), "no choices"),
        (lambda t: t.suggest_categorical("x", [(1, 2)]), "choose a name"),
        (lambda t: t.suggest_categorical("x", [math.nan]), "choose a name"),
        (lambda t: t.suggest_float("", 0, 1), "non-empty string"),
    ],
)
def test_bad_ranges_are_refused(ask: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ask(recorder())


def test_combined_is_shared_then_own_and_works_with_optuna() -> None:
    optuna = pytest.importorskip("optuna")
    arm = Arm(name="a", summary="", space=lambda t: {"model.beta": t.suggest_float("beta", 0, 1)})
    space = combined(study(lambda t: {"training.epochs": t.suggest_int("epochs", 1, 9)}, arm), arm)
    assert [e["name"] for e in describe(space)] == ["epochs", "beta"]
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    assert list(space(trial)) == ["training.epochs", "model.beta"]
    names = {"float": "FloatDistribution", "int": "IntDistribution"}
    for entry in describe(space):
        distribution = trial.distributions[entry["name"]]
        assert type(distribution).__name__ == names[entry["kind"]]
        assert (distribution.low, distribution.high, distribution.log) == (entry["low"], entry["high"], entry["log"])


@pytest.mark.parametrize("key", ["training", "training.epochs"])
def test_what_the_shared_space_draws_an_arm_may_not_draw(key: str) -> None:
    arm = Arm(name="a", summary="", space=lambda t: {key: 5})
    with pytest.raises(UserError, match=f"arm 'a': its space draws {key}, which the shared space draws"):
        list(draws(combined(study(lambda t: {"training.epochs": 5}, arm), arm), 1))


def test_what_the_shared_space_draws_an_arm_may_not_override() -> None:
    arm = Arm(name="a", summary="", overrides={"training.epochs": 7})
    with pytest.raises(UserError, match=r"arm 'a': it overrides training\.epochs"):
        list(draws(combined(study(lambda t: {"training.epochs": 5}, arm), arm), 1))


def test_errors_in_a_space_name_the_place_and_the_line() -> None:
    def broken(trial: Any) -> Mapping[str, Any]:
        return {"model.beta": 1 / 0}

    line = broken.__code__.co_firstlineno + 1
    for arm, whole in [(ARM, study(broken)), (Arm(name="a", summary="", space=broken), study())]:
        with pytest.raises(UserError, match=rf"test_space\.py:{line}: ZeroDivisionError: division by zero"):
            list(draws(combined(whole, arm), 1))


@pytest.mark.parametrize("result", [None, 3, [("model.beta", 1)], {3: 1}])
def test_a_space_must_return_overrides(result: Any) -> None:
    with pytest.raises(UserError, match="the shared space must return overrides"):
        list(draws(combined(study(lambda t: result), ARM), 1))


def test_a_space_with_the_wrong_signature_is_refused() -> None:
    with pytest.raises(UserError, match="the shared space failed: TypeError"):
        list(draws(combined(study(lambda *, other: {}), ARM), 1))


def test_configuration_applies_the_arm_and_then_the_draw() -> None:
    arm = Arm(name="a", summary="", overrides={"model.beta": 0.5, "model.sigma": 0.2, "dataset.n_train": 50})
    config = configuration(study(arm=arm), arm, {"model.beta": 0.25, "training.epochs": 7})
    assert (config.model.beta, config.model.sigma) == (0.25, 0.2)  # type: ignore[attr-defined]
    assert (config.training.epochs, config.dataset.n_train) == (7, 50)


@pytest.mark.parametrize(("key", "value"), [("model.betta", 1.0), ("beta", 1.0), ("training.epochs", 1.5)])
def test_configuration_refuses_what_no_field_takes(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"arm 'plain': .*{key}"):
        configuration(study(), ARM, {key: value})


def test_covers_is_about_whole_names() -> None:
    assert covers("model", "model.beta")
    assert covers("model.beta", "model.beta")
    assert not covers("model.beta", "model")
    assert not covers("model.beta", "model.beta2")
