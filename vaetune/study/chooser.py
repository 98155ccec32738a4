"""How groups are trained: by the study's record, or as a worker measures it before REPLICATE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from vaetune.config import Configuration
from vaetune.datasets.batches import Pixels
from vaetune.study.members import GroupSpec
from vaetune.training import autotune
from vaetune.training.choice import USUAL, Choice
from vaetune.training.group import Split
from vaetune.training.seeds import Member


class Choices:
    """What the record, which `routes` gives, says of a configuration.

    None asks the worker to measure, once for each shape of network: who comes before that is known goes on as usual.
    `image` is (C, H, W).
    """

    def __init__(self, routes: Callable[[], Mapping[str, str]], image: Sequence[int], classes: int) -> None:
        self._routes, self._image, self._classes = routes, image, classes
        self._asked: set[str] = set()

    def __call__(self, configuration: Configuration) -> Choice | None:
        name = autotune.shape(configuration, self._image, self._classes)
        if text := self._routes().get(name):
            return Choice.parse(text)
        asked = name in self._asked
        self._asked.add(name)
        return USUAL if asked else None


class Chooser:
    """A worker's: measures each shape of network once; `measured`, by the shape's name, is for the study's record."""

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
