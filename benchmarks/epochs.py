"""Epoch time of vaetune's engine against DataLoader loops, pythae and Lightning, network by network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from types import ModuleType

from benchmarks import loops, ours
from benchmarks.networks import VAE, VIB, ConvVAE, Network, begin, layers
from benchmarks.timing import Route, Rows, alternate, rows, void
from vaetune.config import ModelConfig, TrainingConfig
from vaetune.datasets.base import Images
from vaetune.models.configs import Convolutions, SupervisedVAEConfig, VAEConfig

TOLERANCE = 0.02
"""Relative. The routes begin with the same weights, but draw orders and noise of their own."""


def mlp_vae(data: Images, rounds: int) -> Rows:
    """784-400-20, batches of 128, Adam at 1e-3."""
    training = TrainingConfig(batch_size=128, learning_rate=1e-3)
    config = VAEConfig(hidden=(400,), latents=20)
    return _case(
        "MLP VAE 784-400-20, B = 128", config, lambda: VAE(data.images[0].size), training, data, rounds, pythae=True
    )


def vib(data: Images, rounds: int) -> Rows:
    """784-1024-1024-2×256, batches of 100, Adam at 1e-4, σ = softplus(ρ − 5): the network of Alemi et al. (2017)."""
    training = TrainingConfig(batch_size=100, learning_rate=1e-4)
    config = SupervisedVAEConfig(
        trunk=(1024, 1024), latents=256, bottleneck="gaussian", beta=1e-3, initial_sigma=0.006715
    )
    return _case(
        "VIB 784-1024-1024-2×256, B = 100",
        config,
        lambda: VIB(data.images[0].size, config.trunk, config.latents, config.beta, -5.0),
        training,
        data,
        rounds,
    )


def conv_vae(data: Images, rounds: int) -> Rows:
    """Convolutions of 32 and 64 channels, kernel 4, stride 2; 256 hidden, 20 latents; for 28×28 grey images."""
    training = TrainingConfig(batch_size=128, learning_rate=1e-3)
    geometry = Convolutions(channels=(32, 64), kernels=(4, 4), strides=(2, 2), paddings=(1, 1))
    config = VAEConfig(convolutions=geometry, hidden=(256,), latents=20)
    case = "conv VAE 32-64 channels, 256-20, B = 128"
    return _case(case, config, lambda: ConvVAE((32, 64), 256, 20), training, data, rounds)


def _case(
    case: str,
    config: ModelConfig,
    plain: Callable[[], Network],
    training: TrainingConfig,
    data: Images,
    rounds: int,
    pythae: bool = False,
) -> Rows:
    batch, rate = training.batch_size, training.learning_rate
    group = ours.group(config, training, data, range(1))
    fewer_bits = ours.group(config, replace(training, precision="bf16"), data, range(1))
    weights = ours.weights(group)

    def network() -> Network:
        made = plain()
        begin(layers(made), weights)
        return made

    routes = [
        ours.route("vaetune", [group]),
        ours.route("vaetune, bfloat16 products", [fewer_bits]),
        loops.loop("PyTorch example's loop", network(), loops.Pictures(data), batch, rate),
        loops.loop("TensorDataset + DataLoader", network(), loops.tensors(data), batch, rate),
    ]
    others: list[tuple[str, Callable[[ModuleType], Route]]] = [
        ("lightning", lambda m: m.trainer("Lightning Trainer", network(), loops.Pictures(data), batch, rate)),
        ("lightning", lambda m: m.trainer("… TensorDataset", network(), loops.tensors(data), batch, rate)),
    ]
    if pythae:
        others.append(("pythae", lambda m: m.trainer("pythae BaseTrainer", weights, data, batch, rate)))
    absent = []
    for package, make in others:
        try:
            routes.append(make(import_module(f"benchmarks.with_{package}")))
        except ModuleNotFoundError as error:
            absent.append(void(case, package, f"not installed: {error.name}"))
    alternate(routes, rounds)
    return rows(case, routes, TOLERANCE) + absent
