"""A fast route is taken only where its products are float32."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from vaetune.training import routes
from vaetune.training.environment import ENVIRONMENT


@pytest.fixture(autouse=True)
def _unasked() -> Iterator[None]:
    routes.configure.cache_clear()
    yield
    routes.configure.cache_clear()


def as_bfloat16(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def as_tf32(x: Tensor) -> Tensor:
    """Ten bits of mantissa."""
    return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def as_float32(x: Tensor) -> Tensor:
    return x


@pytest.mark.parametrize(
    ("rounded", "batched_only", "chosen"),
    [
        (as_bfloat16, False, "highest"),
        (as_bfloat16, True, "highest"),
        (as_tf32, False, "highest"),
        (as_float32, False, "medium"),
    ],
)
def test_the_fast_route_is_kept_only_if_it_is_float32(
    rounded: Callable[[Tensor], Tensor], batched_only: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def product(a: Tensor, b: Tensor) -> Tensor:
        fast = torch.get_float32_matmul_precision() == "medium" and a.dtype == torch.float32
        if fast and (a.dim() == 3 or not batched_only):
            a, b = rounded(a), rounded(b)
        # In float64 and back, so that the machine's own fast route is no part of the test.
        return torch.matmul(a.double(), b.double()).to(a.dtype)

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    assert routes.configure()["matmul"] == torch.get_float32_matmul_precision() == chosen


def test_the_route_chosen_here_is_float32() -> None:
    routes.configure()
    generator = torch.Generator().manual_seed(5)
    a, b = torch.randn(3, 256, 300, generator=generator), torch.randn(3, 300, 128, generator=generator)
    exact = a.double() @ b.double()
    for ours in (torch.bmm(a, b), torch.stack([torch.mm(x, y) for x, y in zip(a, b, strict=True)])):
        assert ((ours - exact).abs().max() / exact.abs().max()).item() < 2e-6


def test_one_thread_a_trial() -> None:
    torch.set_num_threads(2)
    assert routes.configure()["threads"] == "1"
    assert torch.get_num_threads() == 1


def test_freed_memory_stays_for_the_next_step() -> None:
    """In a process of its own, which has not trained: large blocks come back without new pages."""
    code = (
        "import resource, torch\nfrom vaetune.training import routes\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def step():\n    before = faults()\n    [torch.ones(2**24) for _ in range(3)]\n    return faults() - before\n"
        "step(); print(routes.configure()['memory']); print(min([step() for _ in range(4)]))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split("\n")
    if said[0] == "kept":
        assert int(said[1]) < 100, "of 64 MB and more, which are 16,384 pages"


def test_what_was_chosen_is_for_the_record() -> None:
    chosen = routes.configure()
    assert chosen["cpu"] == torch.backends.cpu.get_cpu_capability()
    assert all(isinstance(value, str) for value in chosen.values())


def test_the_environment_is_set_before_torch_loads() -> None:
    code = "import sys; from vaetune.training.environment import ENVIRONMENT; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert ENVIRONMENT["OMP_NUM_THREADS"] == "1"


def test_a_product_does_not_depend_on_where_its_operands_lie(both_routes: None) -> None:
    """Members lie at odd places in a stack: equal ones must have equal products, in any of the three of a layer."""
    generator = torch.Generator().manual_seed(0)
    for batch, inputs, outputs in ((2, 237, 13), (3, 138, 197), (33, 29, 31)):
        shapes = ((batch, inputs), (inputs, outputs), (batch, outputs))
        x, w, g = (torch.randn(shape, generator=generator).expand(5, *shape).contiguous() for shape in shapes)
        for a, b in ((x, w), (x.mT, g), (g, w.mT)):
            assert all(torch.equal(product, torch.bmm(a, b)[0]) for product in torch.bmm(a, b))
