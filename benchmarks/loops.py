"""DataLoader loops with the semantics of PyTorch's own examples, written anew: what most people start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms.functional import to_tensor  # type: ignore[import-untyped]

from benchmarks.networks import Network
from benchmarks.timing import Route
from vaetune.datasets.base import Images


class Pictures(Dataset[tuple[Tensor, int]]):
    """A PIL image and `ToTensor` for every item, as torchvision's datasets do it."""

    def __init__(self, data: Images) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.data.images[index]
        picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
        return to_tensor(picture), int(self.data.labels[index])


def tensors(data: Images) -> TensorDataset:
    """All images as one float tensor in [0, 1]."""
    return TensorDataset(torch.from_numpy(data.images / 255).float(), torch.from_numpy(data.labels.copy()))


def loop(name: str, network: Network, dataset: Dataset[Any], batch: int, rate: float) -> Route:
    """Shuffled DataLoader in this process, `torch.optim.Adam` as it comes, `loss.item()` at every step."""
    loader = DataLoader(dataset, batch_size=batch, shuffle=True)
    size = len(dataset)  # type: ignore[arg-type]
    return Route(name, _epoch(network, loader, torch.optim.Adam(network.parameters(), lr=rate), size))


def sequential(name: str, networks: Sequence[Network], dataset: Dataset[Any], batch: int, rate: float) -> Route:
    """Several networks, one after the other."""
    loops = [loop(name, network, dataset, batch, rate).epoch for network in networks]
    return Route(name, lambda: sum(epoch() for epoch in loops) / len(loops))


def _epoch(
    network: Network, loader: DataLoader[Any], optimizer: torch.optim.Optimizer, size: int
) -> Callable[[], float]:
    def epoch() -> float:
        network.train()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = network.loss(x, y)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
            optimizer.step()
        return total / size

    return epoch
