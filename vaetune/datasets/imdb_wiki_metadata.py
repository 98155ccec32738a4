"""The metadata of IMDB-WIKI: one MATLAB struct of arrays with a row for every image.

Fields: `dob` (MATLAB's day number), `photo_taken` (year), `full_path`, `gender` (0 female, 1 male, NaN unknown),
`name`, `face_score` (−∞: no face found), `second_face_score` (NaN: no second face), and for IMDB `celeb_id`.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.locks import locked
from vaetune.datasets.roots import search_roots, writable_root
from vaetune.errors import UserError

_MATLAB_DAYS = 366  # MATLAB counts from the year 0, Python from the year 1
_JULY = 7  # a photo is taken to be of the middle of its year
_NUMBERS = ("dob", "photo_taken", "gender", "face_score", "second_face_score")


@dataclass(frozen=True, eq=False)
class Metadata:
    """A row an image: `path` below the folder, `person`, `age` in whole years (NaN: unknown), `gender`, the scores."""

    path: NDArray[np.str_]
    person: NDArray[np.str_]
    age: NDArray[np.float64]
    gender: NDArray[np.float64]
    face_score: NDArray[np.float64]
    second_face_score: NDArray[np.float64]

    def of(self, rows: NDArray[np.bool_]) -> Metadata:
        """Those rows."""
        return Metadata(*(getattr(self, field.name)[rows] for field in fields(self)))


def cached(mat: Path, site: str, root: Path | None) -> Metadata:
    """The metadata in `mat`, read in seconds the first time and from a small file of our own after that."""
    status = mat.stat()
    name = f"{site}-metadata-{status.st_size:x}-{status.st_mtime_ns:x}.npz"
    for place in search_roots(root):
        path = place / "prepared" / name
        if path.is_file():
            with np.load(path) as arrays:
                return Metadata(*(arrays[field.name] for field in fields(Metadata)))
    rows = parse(mat.read_bytes(), site, str(mat))
    folder = writable_root(root) / "prepared"
    with locked(folder):
        aside = folder / f".{name}.part"
        try:
            with aside.open("wb") as file:
                np.savez(file, **{field.name: getattr(rows, field.name) for field in fields(rows)})
                os.fsync(file.fileno())
            aside.replace(folder / name)
        except OSError as error:
            raise UserError(f"cannot write {folder / name}: {error.strerror}; choose another --data-root") from error
        finally:
            aside.unlink(missing_ok=True)
    return rows


def parse(data: bytes, site: str, where: str) -> Metadata:
    """The rows of the struct `site`; raises `UserError` if they are not what is documented."""
    from scipy.io import loadmat  # type: ignore[import-untyped]
    from scipy.io.matlab import MatReadError  # type: ignore[import-untyped]

    try:
        struct = loadmat(io.BytesIO(data), variable_names=[site])[site][0, 0]
        numbers = {name: np.asarray(struct[name], np.float64).reshape(-1) for name in _NUMBERS}
        paths = _texts(struct["full_path"])
        names = _texts(struct["name"])
        ids = struct["celeb_id"].reshape(-1).astype(np.int64).tolist() if "celeb_id" in struct.dtype.names else None
    except (MatReadError, LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        raise UserError(f"{where}: no MATLAB file with the struct {site!r} of IMDB-WIKI ({error})") from error
    lengths = {name: len(column) for name, column in (numbers | {"full_path": paths, "name": names}).items()}
    if ids is not None:
        lengths["celeb_id"] = len(ids)
    if len(set(lengths.values())) != 1:
        raise UserError(f"{where}: columns of different lengths: {lengths}")
    if odd := set(np.unique(numbers["gender"][~np.isnan(numbers["gender"])])) - {0.0, 1.0}:
        raise UserError(f"{where}: gender {min(odd):g}, expected 0, 1 or NaN")
    for path in paths:
        if path.startswith("/") or ".." in path.split("/"):
            raise UserError(f"{where}: the path {path!r} leads out of the folder")
    people = names if ids is None else [str(id) for id in ids]
    # A picture without a name is its own page's: the file name begins with the page's number.
    persons = [who or path.rpartition("/")[2].partition("_")[0] for who, path in zip(people, paths, strict=True)]
    return Metadata(
        path=np.array(paths, np.str_),
        person=np.array(persons, np.str_),
        age=_ages(numbers["dob"], numbers["photo_taken"]),
        gender=numbers["gender"],
        face_score=numbers["face_score"],
        second_face_score=numbers["second_face_score"],
    )


def _texts(cells: Any) -> list[str]:
    """The strings of a cell array; an empty cell is an empty string."""
    return [str(cell.reshape(-1)[0]) if cell.size else "" for cell in cells.reshape(-1)]


def _ages(born: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole years from the day of birth to the middle of the year of the photo; NaN where a date is impossible."""
    latest = date.max.toordinal()
    days = born - _MATLAB_DAYS
    possible = np.isfinite(days) & np.isfinite(taken) & (days >= 1) & (days <= latest)
    ages = np.full(len(born), np.nan)
    births = [date.fromordinal(int(day)) for day in days[possible]]
    whole = np.array([birth.year + (birth.month >= _JULY) for birth in births], np.float64)
    ages[possible] = taken[possible] - whole
    return ages
