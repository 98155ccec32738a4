"""What a person sees who mistyped a name."""

from __future__ import annotations

from vaetune.errors import UserError, unknown


def test_a_near_name_is_offered_alone() -> None:
    assert str(unknown("arm", "svea", ["svae", "dropout"])) == "unknown arm 'svea': did you mean 'svae'?"


def test_all_names_are_listed_when_none_is_near() -> None:
    assert str(unknown("arm", "xyz", ["svae", "dropout"])) == "unknown arm 'xyz': known: dropout, svae"


def test_where_there_is_none_that_is_said() -> None:
    assert str(unknown("run", "xyz", [])) == "unknown run 'xyz': there is none"


def test_it_is_a_value_error() -> None:
    assert isinstance(unknown("arm", "x", []), UserError)
    assert issubclass(UserError, ValueError)
