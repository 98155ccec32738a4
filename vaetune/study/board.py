"""TensorBoard event files of an execution, where `--tensorboard` asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board:
    """A folder of event files for every member; without a `folder` nothing is written."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._open: dict[str, SummaryWriter] = {}

    def metrics(self, id: str, rows: Iterable[tuple[str, float, int, int]]) -> None:
        """Adds values (name, value, epoch, ms) of a member."""
        if self._folder is None:
            return
        if id not in self._open:
            from torch.utils.tensorboard import SummaryWriter

            self._open[id] = SummaryWriter(str(self._folder / id))
        for name, value, epoch, ms in rows:
            self._open[id].add_scalar(name, value, epoch, ms / 1000)

    def end(self, id: str) -> None:
        """The member has ended: its file is closed."""
        if id in self._open:
            self._open.pop(id).close()
