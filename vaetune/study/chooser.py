"""How a worker trains the groups that it is given: by the study's record, or as it measures before REPLICATE."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from vaetune.datasets.batches import Pixels
from vaetune.study.members import GroupSpec
from vaetune.training import autotune
from vaetune.training.choice import USUAL, Choice
from vaetune.training.group import Split
from vaetune.training.seeds import Member


class Chooser:
    """Measures each shape of network once; `measured`, by the shape's name, is for the study's record."""

    def __init__(self, pixels: Pixels, labels: Tensor, classes: int, device: str, most: int) -> None:
        self._data = (pixels, labels, classes, device)
        self._most = most
        self.measured: dict[str, str] = {}

    def choice(self, spec: GroupSpec, member: Member, split: Callable[[], Split]) -> Choice:
        """For groups of members like this one, which has that `split`.

        Replicates go by the record, or else as usual, and never as measured here.
        A trial of SEARCH is alone, so that on the CPU there is nothing to choose.
        """
        pixels, _, classes, device = self._data
        alone = spec.phase == "search"
        if spec.choice or spec.phase == "replicate" or (alone and not device.startswith("cuda")):
            return spec.choice or USUAL
        name = autotune.shape(member.configuration, pixels.shape[1:], classes) + " alone" * alone
        if name not in self.measured:
            choice = autotune.choose(member, split(), *self._data, 1 if alone else self._most)
            self.measured[name] = str(choice)
        return Choice.parse(self.measured[name])
