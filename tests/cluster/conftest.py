from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def switch() -> None:
    """A network of its own, with this process in it from now on."""
    import hosts

    if why := hosts.missing():
        if os.environ.get("VAETUNE_REQUIRE_CLUSTER_TESTS") == "1":
            pytest.fail(why)
        pytest.skip(why)
    hosts.enter()


@pytest.fixture(scope="session")
def s3(switch: None, tmp_path_factory: pytest.TempPathFactory, weed_server: Any) -> Iterator[Any]:
    """A real S3 server in that network, with the results bucket."""
    import hosts
    from bucket import BUCKET, identities

    folder = tmp_path_factory.mktemp("s3")
    config = folder / "s3.json"
    config.write_text(json.dumps(identities()))
    server = weed_server(folder, hosts.GATEWAY, BUCKET, f"-s3.config={config}")
    yield server
    server.kill()


@pytest.fixture
def laptop(s3: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """The machine of the person, whose steps are printed."""
    from laptop import Laptop

    def say(line: str) -> None:
        with capfd.disabled():
            print(line, flush=True)

    say("")
    laptop = Laptop(tmp_path, {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}, say)
    yield laptop
    laptop.close()
