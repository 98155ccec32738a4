from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def in_process() -> Iterator[Any]:
    """Drivers without Ray: `in_process(root)` is one, see the file of that name."""
    spec = importlib.util.spec_from_file_location("in_process", Path(__file__).with_name("in_process.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "in_process", module)  # dataclasses look it up there
        spec.loader.exec_module(module)
        patch.syspath_prepend(str(Path(__file__).parent.parent / "faults"))
        patch.setattr("vaetune.study.tuning.run", importlib.import_module("worker").train_here)
        patch.setattr("vaetune.storage.os.fsync", lambda handle: None)
        yield module.Driver
