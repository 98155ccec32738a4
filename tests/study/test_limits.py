"""Every number of every model of the catalogue has a range, so that a study is refused before anything is built."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from vaetune.errors import UserError
from vaetune.models.configs import CATALOGUE, Convolutions
from vaetune.study import limits


@pytest.mark.parametrize("kind", CATALOGUE)
def test_every_number_has_a_limit(kind: str) -> None:
    hints = typing.get_type_hints(CATALOGUE[kind])
    for field in dataclasses.fields(CATALOGUE[kind]):
        mentioned = str(hints[field.name])
        number = "int" in mentioned.replace("Literal", "") or "float" in mentioned
        if number and Convolutions.__name__ not in mentioned:
            assert f"model.{field.name}" in limits.MODEL, field.name


@pytest.mark.parametrize("kind", CATALOGUE)
def test_the_defaults_keep_their_limits(kind: str) -> None:
    limits.check({"model": dataclasses.asdict(CATALOGUE[kind]())}, limits.MODEL, "here")


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("vae", {"latents": 0}, "model.latents = 0, but it must be at least 1"),
        ("cvae", {"beta": -1.0}, "model.beta = -1.0, but it must be at least 0"),
        ("avb", {"contrast_draws": 1}, "model.contrast_draws = 1, but it must be at least 2"),
        ("avb", {"discriminator": (8, 0)}, r"model.discriminator = \(8, 0\), but it must be at least 1"),
        ("conjoint_vae", {"private": 0}, "model.private = 0"),
        ("branched_vae", {"classification": -0.5}, "model.classification = -0.5"),
        ("supervised_vae", {"decoder_share": 1.0}, "model.decoder_share = 1.0"),
    ],
)
def test_what_lies_outside_is_refused(kind: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        limits.check({"model": dataclasses.asdict(CATALOGUE[kind](**changes))}, limits.MODEL, "here")
