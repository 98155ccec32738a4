from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune.datasets import celeba_lists as lists
from vaetune.errors import UserError

words = st.text("abcXYZ_019.", max_size=8).map("n{}".format)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[str], np.ndarray]:
    files, names = (draw(st.lists(words, min_size=1, max_size=5, unique=True)) for _ in range(2))
    flat = draw(st.lists(st.booleans(), min_size=len(files) * len(names), max_size=len(files) * len(names)))
    return files, names, np.array(flat).reshape(len(files), len(names))


def text_of(files: list[str], names: list[str], values: np.ndarray) -> str:
    rows = [f"{file} " + " ".join(f"{1 if v else -1:2d}" for v in row) for file, row in zip(files, values, strict=True)]
    return "\n".join([str(len(files)), " ".join(names) + " ", *rows, ""])


@given(tables(), st.data())
def test_the_attributes_asked_for_come_in_that_order(table: tuple, data: st.DataObject) -> None:
    files, names, values = table
    wanted = data.draw(st.permutations(names))
    for text in (text_of(*table), text_of(*table).replace("\n", "\r\n"), text_of(*table).rstrip("\n")):
        found, flags = lists.attributes(text, wanted, "list")
        assert found == files
        assert np.array_equal(flags, values[:, [names.index(name) for name in wanted]])


@given(tables(), st.data())
def test_a_list_without_one_of_its_lines_is_an_error(table: tuple, data: st.DataObject) -> None:
    lines = text_of(*table).split("\n")
    del lines[data.draw(st.integers(0, len(lines) - 2))]
    with pytest.raises(UserError, match=r"^(list|unknown attribute)"):
        lists.attributes("\n".join(lines), table[1][:1], "list")


@given(st.text(max_size=80), st.lists(words, max_size=2))
def test_any_text_is_attributes_or_a_user_error(text: str, wanted: list[str]) -> None:
    try:
        files, flags = lists.attributes(text, wanted, "list")
    except UserError:
        return
    assert flags.shape == (len(files), len(wanted))


@given(st.dictionaries(words, st.integers(0, 99999), min_size=1))
def test_numbers_round_trip(rows: dict[str, int]) -> None:
    text = "".join(f"{file} {number}\n" for file, number in rows.items())
    for same in (text, text.replace("\n", "\r\n"), text.rstrip("\n")):
        assert lists.numbers(same, "list") == rows


@given(st.text(max_size=60))
def test_any_text_is_numbers_or_a_user_error(text: str) -> None:
    try:
        found = lists.numbers(text, "list", range(3))
    except UserError:
        return
    assert set(found.values()) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3\nA B\nx 1 -1\ny 1 1\n", "it says 3 rows and has 2"),
        ("1\nA B\nx 1 -1\ny 1 1\n", "it says 1 rows and has 2"),
        ("2\nA B\nx 1 -1\ny 1\n", "line 4: 2 words, expected a file name and 2 values"),
        ("1\nA B\nx 0 -1\n", "line 3: A is '0', expected 1 or -1"),
        ("2\nA B\nx 1 1\nx 1 1\n", "x occurs twice"),
        ("A B\nx 1 1\n", "expected the number of rows"),
        ("1\nA A\nx 1 1\n", "expected the number of rows"),
        ("", "expected the number of rows"),
    ],
)
def test_wrong_attributes_are_named(text: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^list.*{words}"):
        lists.attributes(text, ["A"], "list")


def test_an_unknown_attribute_gets_the_near_names() -> None:
    with pytest.raises(UserError, match="unknown attribute 'Smilng': did you mean 'Smiling'"):
        lists.attributes("0\nMale Smiling\n", ["Smilng"], "list")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x 0\ny 3\n", "line 2: expected a file name and one of 0, 1, 2, found 'y 3'"),
        ("x 0\n\ny 1\n", "line 2: expected a file name"),
        ("x 0 1\n", "line 1: expected"),
        ("x -1\n", "line 1: expected"),
        ("x 0\nx 1\n", "x occurs twice"),
    ],
)
def test_wrong_numbers_are_named(text: str, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        lists.numbers(text, "list", range(3))


def test_what_is_no_text_is_named(tmp_path) -> None:
    (tmp_path / "list").write_bytes(b"x 0\n\xff\xd8\xff")
    with pytest.raises(UserError, match=r"list: not a text file .* at byte 4"):
        lists.read(tmp_path / "list")
