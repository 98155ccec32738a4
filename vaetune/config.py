"""Frozen configurations and their strict JSON: what is unknown, missing or ill-typed is an error that names it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from vaetune.errors import UserError, unknown

if typing.TYPE_CHECKING:
    from vaetune.models.base import Model

T = TypeVar("T")
_PER_MEMBER = "per_member"


def per_member(default: float) -> Any:
    """A field that may differ between the members of one group: it changes numbers, never shapes."""
    return field(default=default, metadata={_PER_MEMBER: True})


Task = Literal["classify", "reconstruct", "generate"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What every model's configuration is: named by `kind`, able to build its model, clear about its `tasks`."""

    kind: ClassVar[str]
    tasks: ClassVar[frozenset[Task]] = frozenset()

    def build(self, shape: tuple[int, ...], classes: int) -> Model:
        """The model for images of `shape` (channels, height, width) with values in [0, 1]."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Which images, how many of them, and how dirty their labels.

    `n_train` counts training images after the split (None: all that validation leaves);
    `label_noise` is the share of *training* labels that are replaced by another class, uniformly.
    """

    name: str = "fashion_mini"
    n_train: int | None = None
    n_validation: int = 1000
    label_noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How one member is trained: Adam with decoupled weight decay, the same for every arm.

    `epochs` is the whole length. `schedule` "step" multiplies the rate by `learning_rate_decay` every `decay_every`
    epochs, "plateau" after that many epochs without a better validation NLL (or loss), "cosine" lets it fall to 0;
    `ema` is the decay per step of the averaged weights that are scored (0: the last weights);
    `penalty_warmup` is the number of epochs over which the bottleneck's penalty rises linearly to its weight;
    `pretrained` is a checkpoint to begin from instead of random weights, a folder's path, an s3:// or an MLflow URI;
    `pretrained_parts` names the parts of the model that do, such as encoder or decoder (none: the whole model).
    `precision` is that of the products in training ("tf32" on GPUs, "bf16" there and on CPUs with AMX; all else, scores
    included, stays float32).
    `patience` stops after that many epochs without a better validation NLL (or loss, where nothing is classified) and
    keeps the best weights (0: never).
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = per_member(1e-3)
    weight_decay: float = per_member(0.0)
    beta1: float = 0.9
    beta2: float = 0.999
    schedule: Literal["step", "plateau", "cosine"] = "step"
    learning_rate_decay: float = 1.0
    decay_every: int = 1
    ema: float = 0.0
    penalty_warmup: int = 0
    patience: int = 0
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    pretrained: str = ""
    pretrained_parts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that decides the numbers of one member, but for its seeds."""

    model: ModelConfig
    training: TrainingConfig
    dataset: DatasetConfig


def to_json(config: Any) -> dict[str, Any]:
    """The configuration as plain JSON values; a model's configuration carries its `kind`."""
    out: dict[str, Any] = {"kind": config.kind} if isinstance(config, ModelConfig) else {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        out[f.name] = (
            to_json(value) if dataclasses.is_dataclass(value) else list(value) if isinstance(value, tuple) else value
        )
    return out


def from_json(cls: type[T], data: Any, where: str = "") -> T:
    """The inverse of `to_json`; raises `UserError` naming the key (dotted, from `where`) that is wrong."""
    if not isinstance(data, Mapping):
        raise UserError(f"{where or cls.__name__}: expected an object, found {data!r}")
    data = dict(data)
    if issubclass(cls, ModelConfig):
        cls = typing.cast(type[T], _model_class(cls, data.pop("kind", None)))
    hints = _hints(typing.cast(Any, cls))
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
    for key in data:
        if key not in fields:
            raise unknown("key", f"{where}{key}", [where + n for n in fields])
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise UserError(f"missing key {where}{name}")
    return cls(**{key: _parse(hints[key], value, where + key) for key, value in data.items()})


def get(config: Any, path: str) -> Any:
    """The value at a dotted path."""
    head, _, rest = path.partition(".")
    if head not in {f.name for f in dataclasses.fields(config)}:
        raise unknown("setting", head, [f.name for f in dataclasses.fields(config)])
    value = getattr(config, head)
    return get(value, rest) if rest else value


def override(config: T, overrides: Mapping[str, Any]) -> T:
    """A copy with the values at the dotted paths replaced, each checked against the type of its field."""
    for path, value in overrides.items():
        config = _override(config, path, value, path)
    return config


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted paths to scalar values, as trackers and tables want them."""
    out: dict[str, Any] = {}
    for key, value in to_json(config).items() if not isinstance(config, Mapping) else config.items():
        if isinstance(value, Mapping):
            out |= flatten(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value
    return out


def architecture(config: Configuration) -> str:
    """The same string for configurations that can train as members of one stacked model.

    Of a per-member number it keeps whether it is zero: a term with weight zero is not computed at all.
    """

    def shared(node: Any) -> dict[str, Any]:
        kind = {"kind": node.kind} if isinstance(node, ModelConfig) else {}
        return kind | {
            f.name: shared(value)
            if dataclasses.is_dataclass(value)
            else bool(value)
            if f.metadata.get(_PER_MEMBER)
            else value
            for f in dataclasses.fields(node)
            for value in [getattr(node, f.name)]
        }

    return canonical(shared(config))


def canonical(data: Any) -> str:
    """JSON with sorted keys and no spaces: equal data, equal text. NaN and infinities are refused."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(config: Any) -> str:
    """Sixteen hex digits that name a configuration (or plain JSON data)."""
    data = to_json(config) if dataclasses.is_dataclass(config) else config
    return hashlib.sha256(canonical(data).encode()).hexdigest()[:16]


def _override(config: T, path: str, value: Any, whole: str) -> T:
    head, _, rest = path.partition(".")
    hints = _hints(typing.cast(Any, type(config)))
    if head not in hints or (rest and not dataclasses.is_dataclass(getattr(config, head))):
        prefix = whole[: len(whole) - len(path)]
        raise unknown("setting", whole, [prefix + name for name in hints])
    new = _override(getattr(config, head), rest, value, whole) if rest else _parse(hints[head], value, whole)
    return typing.cast(T, dataclasses.replace(typing.cast(Any, config), **{head: new}))


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _model_class(base: type[ModelConfig], kind: Any) -> type:
    from vaetune.models import configs  # the catalogue registers every model's configuration

    known = configs.CATALOGUE if base is ModelConfig else {base.kind: base}
    if kind is None and base is not ModelConfig:
        return base
    if not isinstance(kind, str) or kind not in known:
        raise unknown("model", str(kind), known)
    return known[kind]


def _parse(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _parse(next(a for a in args if a is not type(None)), value, where)
    if origin is Literal:
        if value not in args:
            raise unknown(f"value for {where}:", str(value), [str(a) for a in args])
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where}: expected a list, found {value!r}")
        return tuple(_parse(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return (
            value
            if isinstance(value, typing.cast(type, hint))
            else from_json(typing.cast(type, hint), value, where + ".")
        )
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if hint is Any or (hint in (int, str, bool) and type(value) is hint):
        return value
    raise UserError(f"{where}: expected {getattr(hint, '__name__', hint)}, found {value!r}")
