from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))  # the hosts and the small EC2 beside this file

CLUSTER = Path(__file__).parents[2] / "cluster"


@pytest.fixture
def gpu() -> dict[str, Any]:
    """cluster/gpu.yaml as it is."""
    found: dict[str, Any] = yaml.safe_load((CLUSTER / "gpu.yaml").read_text())
    return found


@pytest.fixture
def onprem() -> dict[str, Any]:
    """cluster/onprem.yaml as it is."""
    found: dict[str, Any] = yaml.safe_load((CLUSTER / "onprem.yaml").read_text())
    return found
