from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune.datasets.imdb_wiki_metadata import cached, parse
from vaetune.errors import UserError

Packed = Callable[..., bytes]


def test_the_fields_become_columns(packed: Packed) -> None:
    rows = parse(packed(), "wiki", "file")
    assert rows.path.tolist() == ["01/1_a.jpg", "02/2_b.jpg", "02/3_c.jpg"]
    assert rows.person.tolist() == ["Ada", "Bea", "3"]  # a picture without a name is its page's
    assert np.array_equal(rows.age, [30, 29, np.nan], equal_nan=True)  # in the middle of 2010
    assert np.array_equal(rows.gender, [1, 0, np.nan], equal_nan=True)
    assert np.array_equal(rows.face_score, [3.5, -np.inf, 2.0])
    assert np.array_equal(rows.second_face_score, [np.nan, np.nan, 1.5], equal_nan=True)


def test_imdb_knows_people_by_number(packed: Packed) -> None:
    rows = parse(packed("imdb", celeb_id=[4, 4, 9]), "imdb", "file")
    assert rows.person.tolist() == ["4", "4", "9"]


@pytest.mark.parametrize("days", [-5.0, 1.0, 1e12, np.inf])
def test_impossible_dates_have_no_age(packed: Packed, days: float) -> None:
    rows = parse(packed(dob=[days] * 3), "wiki", "file")
    assert np.isnan(rows.age).all()


@pytest.mark.parametrize(
    ("site", "columns", "words"),
    [
        ("imdb", {}, "no MATLAB file with the struct 'wiki'"),
        ("wiki", {"dob": [1.0]}, r"columns of different lengths: .*'dob': 1"),
        ("wiki", {"gender": [2.0, 0.0, 1.0]}, "gender 2, expected 0, 1 or NaN"),
        ("wiki", {"full_path": ["../../etc/x.jpg", "b", "c"]}, r"the path '\.\./\.\./etc/x\.jpg' leads out of"),
        ("wiki", {"full_path": ["/etc/x.jpg", "b", "c"]}, "leads out of the folder"),
    ],
)
def test_other_content_is_named(packed: Packed, site: str, columns: dict[str, list[object]], words: str) -> None:
    with pytest.raises(UserError, match=f"^file: .*{words}"):
        parse(packed(site, **columns), "wiki", "file")


@given(st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_an_error(packed: Packed, share: float) -> None:
    data = packed()
    with pytest.raises(UserError, match=r"^file: "):
        parse(data[: int(share * len(data))], "wiki", "file")


@given(st.binary(max_size=300))
def test_any_other_bytes_are_an_error(data: bytes) -> None:
    with pytest.raises(UserError, match=r"^file: no MATLAB file"):
        parse(data, "wiki", "file")


@given(st.dates(date(1850, 1, 1), date(2015, 1, 1)), st.integers(1850, 2015))
def test_an_age_is_that_of_the_first_of_july(packed: Packed, born: date, taken: int) -> None:
    rows = parse(packed(dob=[born.toordinal() + 366.0] * 3, photo_taken=[taken] * 3), "wiki", "file")
    middle = date(taken, 7, 1)
    expected = middle.year - born.year - ((middle.month, 0) < (born.month, 0) or born.month == 7)
    assert rows.age[0] == expected


def test_it_is_read_once(packed: Packed, empty_roots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mat = tmp_path / "wiki.mat"
    mat.write_bytes(packed())
    first = cached(mat, "wiki", None)
    monkeypatch.setattr("vaetune.datasets.imdb_wiki_metadata.parse", None)
    again = cached(mat, "wiki", None)
    assert again.path.tolist() == first.path.tolist()
    assert np.array_equal(again.age, first.age, equal_nan=True)
    assert sorted(path.name[:5] for path in (empty_roots / "prepared").iterdir()) == [".lock", "wiki-"]
