"""CloudFormation's YAML, its functions as plain values: `!Ref X` is {"Ref": "X"}."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    pass


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node)}
    return {suffix: node.value}


_Loader.add_multi_constructor("!", _function)  # type: ignore[no-untyped-call]


def read(text: str) -> dict[str, Any]:
    """The template that `text` is."""
    found: dict[str, Any] = yaml.load(text, _Loader)
    return found
