from __future__ import annotations

from pathlib import Path

import pytest

from vaetune.errors import UserError
from vaetune.study import token


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "auth_token"
    path.write_text("f" * 64)
    path.chmod(0o600)
    return path


def test_a_private_file_or_the_environment_will_do(file: Path, tmp_path: Path) -> None:
    token.require({"RAY_AUTH_TOKEN_PATH": str(file)})
    token.require({"RAY_AUTH_TOKEN": "f" * 64, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")})
    token.require({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604])
def test_a_file_that_others_can_read_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(UserError, match=f"chmod 600 {file}"):
        token.require({"RAY_AUTH_TOKEN_PATH": str(file)})


def test_no_token_is_refused_with_the_command_that_makes_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    with pytest.raises(UserError, match="openssl rand -hex 32"):
        token.require({})
    file.write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        token.require({"RAY_AUTH_TOKEN_PATH": str(file)})
