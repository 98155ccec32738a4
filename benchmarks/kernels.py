"""The floor under an epoch: the matrix products and the optimizer of exactly these shapes, and nothing around them."""

from __future__ import annotations

import math

import torch

from benchmarks import ours
from benchmarks.machine import median_cpu
from benchmarks.timing import Rows, alternate
from vaetune.config import TrainingConfig
from vaetune.datasets.base import Images
from vaetune.models.configs import VAEConfig
from vaetune.networks import Linear
from vaetune.training import routes


def roofline(data: Images, rounds: int) -> Rows:
    """The share of its floor that the MLP VAE's epoch reaches, in CPU seconds.

    Two floors: the kernels themselves, timed alone and hot on these shapes; and arithmetic, the products' operations
    over the best sgemm of this machine plus the optimizer's kernel.
    """
    batch, case = 128, "MLP VAE 784-400-20, B = 128"
    group = ours.group(VAEConfig(hidden=(400,), latents=20), TrainingConfig(batch_size=batch), data, range(1))
    route = ours.route("vaetune", [group])
    alternate([route], rounds)
    shapes = [(m.weight.shape[-2], m.weight.shape[-1]) for m in group.model.modules() if isinstance(m, Linear)]
    torch.set_float32_matmul_precision(routes.configure()["matmul"])
    products = sum(_products(batch, *shape, first=i == 0) for i, shape in enumerate(shapes))
    operations = sum((4 if i == 0 else 6) * batch * math.prod(shape) for i, shape in enumerate(shapes))
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = 2 * 1024**3 / median_cpu(lambda: torch.mm(a, b), 9)
    adam = _adam([p.detach()[0] for p in group.model.parameters()])
    steps = math.ceil(len(data) / batch)
    epoch = sorted(route.cpu)[len(route.cpu) // 2]
    return [
        {
            "case": f"{case}: share of the floor",
            "route": name,
            "cpu_seconds": floor * steps,
            "share": floor * steps / epoch,
        }
        for name, floor in (
            ("its products and optimizer, timed alone", products + adam),
            ("its operations at the best sgemm, and its optimizer", operations / best + adam),
        )
    ]


def _products(batch: int, inputs: int, outputs: int, first: bool) -> float:
    """CPU seconds of a layer's products in one step: forward, by weight, and by input where there is one below."""
    x, w, g = torch.randn(batch, inputs), torch.randn(inputs, outputs), torch.randn(batch, outputs)
    work = [lambda: torch.mm(x, w), lambda: torch.mm(x.T, g)] + ([] if first else [lambda: torch.mm(g, w.T)])
    return sum(median_cpu(lambda w=one: [w() for _ in range(10)], 15) / 10 for one in work)  # type: ignore[misc]


def _adam(parameters: list[torch.Tensor]) -> float:
    """CPU seconds of one fused update of these parameters."""
    p, g, m, v = ([torch.rand_like(x) for x in parameters] for _ in range(4))
    step = [torch.tensor(1.0)] * len(p)

    def update() -> None:
        torch._fused_adamw_(
            p, g, m, v, [], step, lr=1e-3, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False,
            maximize=False,
        )  # fmt: skip

    return median_cpu(update, 31)
