"""What VAE, AVB and AVB with adaptive contrast reach on the 10,000 test images of binarized MNIST, in nats an image.

    python -m benchmarks.likelihoods mlp                      a VAE, 784-400-20, fixed binarization: minutes
    python -m benchmarks.likelihoods vae avb avb_ac           those of `adversarial_posterior --preset mnist`: for GPUs
    python -m benchmarks.likelihoods vae avb avb_ac --small   with 784-400-32 in the place of their convolutions

One seed each, no search, the weights of the last epoch; 5,000 of the training images stay out. The bound is of one draw
on all test images, IWAE of 500 draws on the first `--iwae`; −log p(x) by annealed importance sampling on the first
`--images`, with the standard error over images. The bound of AVB is its discriminator's own guess, so it has no IWAE.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

from vaetune.training.environment import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch loads: one thread, as in a worker

import torch

from vaetune import elbo
from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.datasets import open_dataset
from vaetune.datasets.base import Images
from vaetune.datasets.batches import Part, Resident, shared, unit
from vaetune.datasets.splits import split
from vaetune.evaluation import special
from vaetune.models.base import Generative
from vaetune.models.configs import VAEConfig
from vaetune.noise import Noise
from vaetune.study.load import load
from vaetune.study.space import configuration
from vaetune.training import routes
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds

SMALL = {"model.convolutions": None, "model.hidden": (400,)}
SMALLER = {
    "model.noise": 32, "model.posterior": (256, 256), "model.discriminator": (512, 512), "model.contrast_draws": 16
}  # fmt: skip
HELD_OUT, CLASSES, SAMPLES = 5_000, 10, 500


def main() -> None:
    """Trains and measures what is asked for; prints a row of Markdown for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.likelihoods", description=__doc__)
    parser.add_argument("models", nargs="+", choices=["mlp", "vae", "avb", "avb_ac"])
    parser.add_argument("--small", action="store_true", help="multilayer perceptrons and a smaller discriminator")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--images", type=int, default=200, help="test images of annealed importance sampling (200)")
    parser.add_argument("--iwae", type=int, default=10_000, help="test images of the IWAE bound (all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-root", type=Path, help="where datasets lie")
    given = parser.parse_args()
    routes.configure()
    print(
        "| model | epochs | minutes | −ELBO | −IWAE, 500 draws | −log p(x), AIS |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for name in given.models:
        chosen = _chosen(name, given.small, given.epochs, given.learning_rate)
        data = open_dataset(chosen.dataset.name, given.data_root)
        started = time.perf_counter()
        model = _trained(chosen, data.development(), given.seed)
        minutes = (time.perf_counter() - started) / 60
        bounded = 0 if "avb" in name else given.iwae
        bound, iwae, ais = _measured(model, data.sealed_test(), bounded, given.images, given.seed)
        error = float(ais.std() / len(ais) ** 0.5)
        print(
            f"| {name} | {given.epochs} | {minutes:.1f} | {bound:.2f} | {f'{iwae:.2f}' if iwae else ''} | "
            f"{float(ais.mean()):.2f} ± {error:.2f} ({len(ais)} images) |",
            flush=True,
        )


def _chosen(name: str, small: bool, epochs: int, rate: float) -> Configuration:
    """The model's configuration, and how it is trained."""
    if name == "mlp":
        training = TrainingConfig(epochs=epochs, learning_rate=rate)
        return Configuration(model=VAEConfig(), training=training, dataset=DatasetConfig(name="binarized:mnist"))
    study = load("adversarial_posterior").preset("mnist")
    found = configuration(study, study.arm(name), (SMALL | (SMALLER if "avb" in name else {})) if small else {})
    return replace(found, training=replace(found.training, epochs=epochs, learning_rate=rate))


def _trained(chosen: Configuration, images: Images, seed: int) -> Generative:
    """The model after its last epoch."""
    train, validation = split(images.labels, HELD_OUT, None, seed, images.groups)
    labels = torch.from_numpy(images.labels.copy())
    index = torch.from_numpy(train)
    part = Split(index, labels[index], torch.from_numpy(validation))
    member = Member("m", "arm", chosen, Seeds(*[seed] * 5))
    group = Group([member], [part], Resident(shared(images.images)), labels, CLASSES)
    while group.members:
        (row,) = group.run_epoch()
    if row.outcome != "finished":
        raise SystemExit(f"{chosen.model.kind}: {row.reason}")
    model = chosen.model.build(tuple(images.images.shape[1:]), CLASSES)
    model.load_state_dict(group.ended["m"])
    assert isinstance(model, Generative)
    return model.requires_grad_(False)


def _measured(model: Generative, test: Images, bounded: int, n: int, seed: int) -> tuple[float, float, torch.Tensor]:
    """−ELBO of all test images, −IWAE of the first `bounded` (0: of none), −log p(x) [n] of the first n."""
    noise, source = Noise(torch.Generator().manual_seed(seed)), Resident(shared(test.images))
    labels = torch.from_numpy(test.labels.copy())
    every = Part(source, torch.arange(len(labels)))
    elbos, bounds = [], []
    with torch.inference_mode():
        for images, y in zip(every.split(1000), labels.split(1000), strict=True):
            x = model.observed(unit(images), noise)
            elbos.append(model.log_weight(x, y, noise))
            if (left := bounded - 1000 * len(bounds)) > 0:
                x, y = x[:left], y[:left]
                weights = torch.stack([model.log_weight(x, y, noise).double() for _ in range(SAMPLES)])
                bounds.append(elbo.iwae(weights))
    iwae = -float(torch.cat(bounds).mean()) if bounded else 0.0
    ais = special.neg_ais(model, (every, labels), n, torch.Generator().manual_seed(seed))
    return -float(torch.cat(elbos).double().mean()), iwae, ais


if __name__ == "__main__":
    main()
