"""The floor under an epoch: the matrix products and the optimizer of exactly these shapes, and nothing around them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import torch

from benchmarks import ours
from benchmarks.timing import Route, Rows, alternate
from vaetune.config import TrainingConfig
from vaetune.datasets.base import Images
from vaetune.models.configs import VAEConfig
from vaetune.networks import Linear


def roofline(data: Images, rounds: int) -> Rows:
    """The share of its floor that the MLP VAE's epoch reaches, in CPU seconds, floor and epoch in turns.

    Two floors: the kernels themselves, hot and on these shapes; and arithmetic, the products' operations at the rate of
    this machine's best sgemm, plus the optimizer's kernel.
    """
    batch, case = 128, "MLP VAE 784-400-20, B = 128"
    group = ours.group(VAEConfig(hidden=(400,), latents=20), TrainingConfig(batch_size=batch), data, range(1))
    steps = math.ceil(len(data) / batch)
    shapes = [(m.weight.shape[-2], m.weight.shape[-1]) for m in group.model.modules() if isinstance(m, Linear)]
    products = [work for i, shape in enumerate(shapes) for work in _products(batch, *shape, first=i == 0)]
    operations = sum((4 if i == 0 else 6) * batch * math.prod(shape) for i, shape in enumerate(shapes))
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    best = [lambda: torch.mm(a, b)] * round(steps * operations / (2 * 512**3))
    adam = _adam([p.detach()[0].clone() for p in group.model.parameters()])
    epoch = ours.route("vaetune", [group])
    floors = [
        _floor("its products and optimizer, alone", [*products, adam] * steps),
        _floor("its operations at the best sgemm, and its optimizer", [*best, *[adam] * steps]),
    ]
    alternate([epoch, *floors], rounds)
    seconds = [statistics.median(route.cpu) for route in (epoch, *floors)]
    return [
        {
            "case": f"{case}: share of the floor",
            "route": floor.name,
            "cpu_seconds": mine,
            "share": mine / seconds[0],
            "share_of_least": min(floor.cpu) / min(epoch.cpu),
        }
        for floor, mine in zip(floors, seconds[1:], strict=True)
    ]


Work = Callable[[], object]


def _floor(name: str, work: Sequence[Work]) -> Route:
    """A route that does this work and nothing else; its loss says nothing."""
    return Route(name, lambda: float(len([one() for one in work])), ours.configured)


def _products(batch: int, inputs: int, outputs: int, first: bool) -> list[Work]:
    """A layer's products in one step: forward, by weight, and by input where there is a layer below."""
    x, w, g = torch.randn(batch, inputs), torch.randn(inputs, outputs), torch.randn(batch, outputs)
    work: list[Work] = [lambda: torch.mm(x, w), lambda: torch.mm(x.T, g)]
    return work if first else [*work, lambda: torch.mm(g, w.T)]


def _adam(parameters: list[torch.Tensor]) -> Work:
    """One fused update of these parameters."""
    p, g, m, v = ([torch.rand_like(x) for x in parameters] for _ in range(4))
    step = [torch.tensor(1.0)] * len(p)

    def update() -> None:
        torch._fused_adamw_(
            p, g, m, v, [], step, lr=1e-3, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False,
            maximize=False,
        )  # fmt: skip

    return update
