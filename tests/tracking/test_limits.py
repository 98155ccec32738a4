from __future__ import annotations

import pytest

from vaetune.tracking import limits


@pytest.mark.parametrize("text", ["test/error", "val/nll_scaled", "β", "a b", "k:1", "model.beta"])
def test_allowed_names_stay(text: str) -> None:
    assert limits.name(text) == text


@pytest.mark.parametrize("text", ["lr%", "a//b", "../up", "/abs", "", ".", "x\n", "a/./b", "a" * 300, "q'\"`;--"])
def test_other_names_are_made_valid_and_stay_apart(text: str) -> None:
    from mlflow.utils.validation import _validate_param

    name = limits.name(text)
    assert _validate_param(name, "1").key == name  # type: ignore[no-untyped-call]
    assert name not in (limits.name(text + "%"), limits.name(text + "&"))
    assert limits.name(name) == name


def test_long_values_are_cut_with_a_digest_of_the_whole() -> None:
    one, other = limits.value("x" * 7000 + "1", limits.PARAM), limits.value("x" * 7000 + "2", limits.PARAM)
    assert len(one) == len(other) == limits.PARAM
    assert one != other
    assert limits.value(one, limits.PARAM) == one
    assert limits.value("x" * limits.PARAM, limits.PARAM) == "x" * limits.PARAM


def test_values_of_other_types_become_text() -> None:
    assert limits.value(0.1, 10) == "0.1"
    assert limits.value([1, {"a": None}], 50) == '[1, {"a": null}]'
    assert limits.value("a\0b", 10) == "ab"


def test_limits_are_within_those_of_mlflow() -> None:
    from mlflow.utils import validation

    assert limits.METRICS_A_CALL <= validation.MAX_METRICS_PER_BATCH
    assert max(limits.PARAMS_A_CALL, limits.TAGS_A_CALL) <= validation.MAX_PARAMS_TAGS_PER_BATCH
    assert limits.PARAMS_A_CALL * limits.PARAM * len("\\u2026") < validation.MAX_BATCH_LOG_REQUEST_SIZE
    assert limits.NAME <= validation.MAX_ENTITY_KEY_LENGTH
    assert limits.PARAM <= validation.MAX_PARAM_VAL_LENGTH
    assert limits.TAG <= validation.MAX_TAG_VAL_LENGTH
    assert limits.EXPERIMENT_TAG <= validation.MAX_EXPERIMENT_TAG_VAL_LENGTH
