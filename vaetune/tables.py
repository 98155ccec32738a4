"""The tables of an execution: rows go in as immutable Parquet parts, and come out as pandas frames while it runs."""

from __future__ import annotations

import io
import os
import re
import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from vaetune.errors import UserError, unknown
from vaetune.storage import Storage

if TYPE_CHECKING:
    from vaetune.pull.frames import Frames

_TYPES = {
    "str": pa.string(),
    "bool": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "time": pa.timestamp("ms", "UTC"),
}


def _schema(columns: str) -> pa.Schema:
    """A schema from "name:type" words; a question mark at the end allows null."""
    pairs = [word.split(":") for word in columns.split()]
    return pa.schema([pa.field(name, _TYPES[kind.rstrip("?")], nullable=kind.endswith("?")) for name, kind in pairs])


SCHEMAS: dict[str, pa.Schema] = {
    "ledger": _schema(
        "trial_id:str arm:str phase:str slice:str search:int32 number:int32 params:str config:str config_hash:str "
        "seed:int64 group_id:str outcome:str reason:str objective:float64? tie:float64? epochs:int32 length:int32 "
        "seconds:float64 device:str started:time ended:time"
    ),
    "history": _schema("member_id:str epoch:int32 metric:str value:float64? time:time"),
    "replicates": _schema(
        "replicate_id:str arm:str replicate:int32 search:int32 seed:int64 config_hash:str dataset:str n_train:int32 "
        "label_noise:float64 outcome:str reason:str epochs:int32 seconds:float64 parameters:int64"
    ),
    "predictions": _schema(
        "replicate_id:str example:int32 evaluation:str target:int16 predicted:int16? correct:bool? log_loss:float32? "
        "confidence:float32? elbo:float32? squared_error:float32? transfer_error:float32? "
        "neg_ais:float32?"
    ),
    "battery": _schema("replicate_id:str metric:str x:float64? value:float64?"),
    "importance": _schema("arm:str search:int32 parameter:str importance:float64 trials:int32 evaluator:str"),
    "runs": _schema("own_id:str run_id:str experiment_id:str"),
}
"""The columns of each table; rows of `replicates` may add float64 columns whose names contain "/"."""

_WORDS = {
    ("ledger", "phase"): {"search", "select", "replicate"},
    ("ledger", "slice"): {"audit", "asha", "fold0", "fold1", ""},
    ("ledger", "outcome"): {"finished", "stopped", "failed"},
    ("replicates", "outcome"): {"finished", "stopped", "failed"},
    ("predictions", "evaluation"): {"mean", "k_sample"},
}
_OPEN = "replicates"
_PART = re.compile(r"part-(\d+)-[0-9a-f]{8}\.parquet")


class Tables:
    """The tables below `<storage>/tables/`, each a folder of parts that are never changed once they are there.

    Any number of processes may append and read at the same time: a part appears whole or not at all.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage.below("tables")

    def append(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add the rows as one part. Raises ValueError, naming the column and the value that it refuses.

        Every column that is not nullable must be in every row; a missing nullable one is null. Integers pass as
        floats, floats never as integers; times must carry their zone.
        """
        schema = _known(table)
        if not rows:
            return
        extra = dict.fromkeys(name for row in rows for name in row if name not in schema.names)
        for name in extra:
            if table != _OPEN or "/" not in name:
                raise unknown(f"column of table {table}", name, schema.names)
            schema = schema.append(pa.field(name, pa.float64()))
        arrays = [_column(table, field, [row.get(field.name) for row in rows]) for field in schema]
        self._write(table, pa.Table.from_arrays(arrays, schema=schema))

    def append_columns(self, table: str, columns: Mapping[str, NDArray[Any] | str]) -> None:
        """Add one part from arrays of equal length; a single string stands in every row, a nullable column may lack.

        Raises ValueError, naming the column, where an array does not fit its type.
        """
        schema = _known(table)
        for name in columns:
            if name not in schema.names:
                raise unknown(f"column of table {table}", name, schema.names)
        n = max(len(values) for values in columns.values() if not isinstance(values, str))
        if not n:
            return
        arrays = []
        for field in schema:
            values = columns.get(field.name)
            if values is None and not field.nullable:
                raise ValueError(f"table {table}, column {field.name}: missing")
            try:
                constant = values is None or isinstance(values, str)
                arrays.append(pa.repeat(pa.scalar(values, field.type), n) if constant else pa.array(values, field.type))
            except (pa.ArrowException, ValueError) as error:
                raise ValueError(f"table {table}, column {field.name}: {error}") from error
        self._write(table, pa.Table.from_arrays(arrays, schema=schema))

    def adopt(self, other: Tables, table: str, column: str, values: Collection[str]) -> None:
        """Add, as one part, the rows of another execution that have one of `values` in a column; raises UserError."""
        rows = other._all(table)
        self._write(table, rows.filter(pc.is_in(rows[column], pa.array(sorted(values), pa.string()))))

    def _write(self, table: str, rows: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, write_page_checksum=True)
        last = max((number for number, _ in self._parts(table)), default=-1)
        # Two writers may take the same number; the random half keeps both parts.
        part = f"{table}/part-{last + 1:06d}-{secrets.token_hex(4)}.parquet"
        self._storage.write(part, buffer.getvalue())

    def read(self, table: str) -> pd.DataFrame:
        """All rows in the order of their parts; null and a metric that a row lacks are NaN. Raises UserError."""
        frame: pd.DataFrame = self._all(table).to_pandas()
        return frame

    def _all(self, table: str) -> pa.Table:
        empty = _known(table).empty_table()
        paths = [f"{table}/{name}" for _, name in self._parts(table)]
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(self._read, paths))
        return pa.concat_tables([empty, *parts], promote_options="default")

    def _parts(self, table: str) -> list[tuple[int, str]]:
        return [(int(match[1]), name) for name in self._storage.list(table) if (match := _PART.fullmatch(name))]

    def _read(self, path: str) -> pa.Table:
        data = self._storage.read(path)
        try:
            part = pq.read_table(pa.BufferReader(data), use_threads=False, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{self._storage.uri}/{path} is damaged: {error}. Restore it, or delete it to go on"
            ) from error
        if wrong := _wrong(_known(path.partition("/")[0]), part.schema):
            raise UserError(f"{self._storage.uri}/{path}, column {wrong}: not as vaetune writes it. Take the file away")
        return part


def _known(table: str) -> pa.Schema:
    if table not in SCHEMAS:
        raise unknown("table", table, SCHEMAS)
    return SCHEMAS[table]


def _wrong(schema: pa.Schema, found: pa.Schema) -> str:
    """The first column that a part lacks or has in another type, or that the table does not know.

    A nullable one may lack: it is younger than the part.
    """
    for field in schema:
        if field.nullable and field.name not in found.names:
            continue
        if found.names.count(field.name) != 1 or found.field(field.name).type != field.type:
            return str(field.name)
    extra = [f for f in found if f.name not in schema.names]
    return next((str(f.name) for f in extra if "/" not in f.name or f.type != pa.float64()), "")


def _column(table: str, field: pa.Field, values: list[Any]) -> pa.Array:
    """The values as an array of the field's type; pyarrow alone would let True pass as 1 and a naive time as UTC."""
    where = f"table {table}, column {field.name}"
    accepted = _accepted(field.type)
    for kind in {type(value) for value in values}:
        if kind is type(None) and field.nullable:
            continue
        if not issubclass(kind, accepted) or (kind is bool and bool not in accepted):
            odd = next(value for value in values if type(value) is kind)
            raise ValueError(
                f"{where}: expected {field.type}, found {odd!r}" if odd is not None else f"{where}: missing"
            )
    if pa.types.is_timestamp(field.type) and any(value is not None and value.tzinfo is None for value in values):
        raise ValueError(f"{where}: a time without a zone; use datetime.now(UTC)")
    words = _WORDS.get((table, field.name))
    for word in set(values) - words if words else ():
        raise unknown(f"value in {where}:", word, words or ())
    try:
        return pa.array(values, field.type, from_pandas=False)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from error


def _accepted(kind: pa.DataType) -> tuple[type, ...]:
    if pa.types.is_integer(kind):
        return int, np.integer
    if pa.types.is_floating(kind):
        return int, float, np.integer, np.floating
    if pa.types.is_boolean(kind):
        return bool, np.bool_
    return (datetime,) if pa.types.is_timestamp(kind) else (str,)


class _Module(ModuleType):
    """This module, which can be called: `vaetune.tables` is the name of a function for users, too."""

    def __call__(self, source: str | os.PathLike[str], storage: str = "runs") -> Frames:
        """Ledger, history and replicates of an execution; see `vaetune.pull.frames.tables`."""
        from vaetune.pull.frames import tables

        return tables(source, storage)


sys.modules[__name__].__class__ = _Module
