"""A model that is ready to use, built from a checkpoint: safetensors and JSON, of which nothing is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaetune import config
from vaetune.checkpoints import Checkpoint, CheckpointError
from vaetune.config import Configuration, DatasetConfig, ModelConfig, TrainingConfig
from vaetune.datasets import open_dataset
from vaetune.datasets.splits import split as parted
from vaetune.errors import UserError, unknown
from vaetune.latents.subject import Subject
from vaetune.models.base import Classifier, Generative, Model
from vaetune.models.decoding import coded, decoded, decodes
from vaetune.noise import Noise
from vaetune.pull.transform import Images, Transform
from vaetune.storage import Storage
from vaetune.study import snapshots


class Pulled:
    """One trained member. `model` is in no training mode, needs no gradients and lies on `device`.

    `config` is what it was trained with, `metrics` what was measured on it (nats per example, errors as fractions),
    `transform` makes its input of images. `study` and `run` are empty where the source does not say.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        where: str,
        device: str = "cpu",
        study: str = "",
        run: str = "",
        metrics: Mapping[str, float] | None = None,
        storage: Storage | None = None,
        model_class: type[ModelConfig] = ModelConfig,
    ) -> None:
        found = checkpoint.config
        try:
            self.id, self.arm, self.phase = str(found["id"]), str(found["arm"]), str(found["phase"])
            self.config = configuration(found["configuration"], model_class)
            self.shape = tuple(int(n) for n in found["shape"])
            self.classes = int(found["classes"])
            self.seeds: dict[str, int] = dict(found["seeds"])
            last = found["history"][-1]["metrics"] if found["history"] else {}
        except (KeyError, TypeError, ValueError, IndexError) as error:
            why = error if isinstance(error, UserError) else f"its config.json lacks or garbles {error}"
            raise CheckpointError(
                f"{where}: {why}. It was written by another version of vaetune: use that one, or for a model class of "
                "your own pass model_class"
            ) from error
        self.metrics: dict[str, float] = {**last, **(metrics or {})}
        self.study, self.run = study, run
        self._storage = storage
        self.device = _device(device)
        self.model = _built(self.config, self.shape, self.classes, checkpoint.weights, where).to(self.device)
        self.transform = Transform(self.shape, self.device)

    def __repr__(self) -> str:
        kind = self.config.model.kind
        return f"<{self.id}: {kind} of {'×'.join(map(str, self.shape))}, {self.study or 'a study'} {self.run}>"

    @torch.no_grad()
    def encode(self, images: Images, labels: Tensor | None = None) -> Tensor:
        """Posterior means [B, Z]; `labels` [B] for a model that is told them."""
        x = self.transform(images)
        if not isinstance(self.model, Classifier | Generative):
            raise UserError(f"{self.id} does not encode; its kind is {self.config.model.kind}")
        return coded(self.model, x, labels).mu

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of p(x|z), images [B, C, H, W] in [0, 1], for latents [B, Z]."""
        if not decodes(self.model):
            raise UserError(f"{self.id} has no decoder; arms with one have model.decoder, or a generative model")
        return decoded(self.model, z.to(self.device), labels).clamp(0, 1)

    @torch.no_grad()
    def predict(self, images: Images, samples: int = 1, seed: int = 0) -> Tensor:
        """Class probabilities [B, classes] at the posterior mean, or averaged over `samples` > 1 noisy passes."""
        if not isinstance(self.model, Classifier):
            raise UserError(f"{self.id} does not classify; its kind is {self.config.model.kind}")
        x = self.transform(images)
        if samples == 1:
            return self.model.predict(x).softmax(-1)
        noise = Noise(torch.Generator(self.device).manual_seed(seed))
        return torch.stack([logits.softmax(-1) for logits in self.model.passes(x, noise, samples)]).mean(0)

    def data(self, split: str = "validation", data_root: str | Path | None = None) -> tuple[Tensor, Tensor]:
        """The images uint8 [N, C, H, W] and labels int64 [N] of the member's own "train" or "validation" split.

        The test split stays sealed: only a study's EVALUATE opens it. A member that was fitted on all images has no
        validation images of its own, and gets those that a study would have held out.
        """
        if split not in ("train", "validation"):
            raise unknown("split", split, ("train", "validation"))
        data = self.config.dataset
        images = open_dataset(data.name, Path(data_root) if data_root else None).development()
        if tuple(images.images.shape[1:]) != self.shape:
            raise UserError(
                f"dataset {data.name} has images of {images.images.shape[1:]} here, {self.id} of {self.shape}"
            )
        parts = parted(images.labels, data.n_validation, data.n_train, self.seeds["split"], images.groups)
        index = parts[("train", "validation").index(split)]
        chosen = torch.from_numpy(images.images[index]), torch.from_numpy(images.labels[index])
        return chosen[0].to(self.device), chosen[1].to(self.device)

    def subject(self, n: int = 500, split: str = "validation", data_root: str | Path | None = None) -> Subject:
        """The model with `n` of its images at most, as `vaetune.latents` looks at it."""
        images, labels = self.data(split, data_root)
        names = open_dataset(self.config.dataset.name, Path(data_root) if data_root else None).class_names
        return Subject(self.id, self.model, images[:n], labels[:n], names)

    def states(self) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Epochs and the weights then, the final ones last: what a study keeps of replicate 0 of arms that decode."""
        if self._storage is None:
            raise UserError(f"{self.id} came from MLflow, which keeps the final weights only: load it from its folder")
        yield from snapshots.read(self._storage, self.id)


def configuration(data: Mapping[str, Any], model_class: type[ModelConfig] = ModelConfig) -> Configuration:
    """The configuration in a checkpoint's config.json; raises `UserError` naming what this version does not know."""
    return Configuration(
        model=config.from_json(model_class, data["model"], "model."),
        training=config.from_json(TrainingConfig, data["training"], "training."),
        dataset=config.from_json(DatasetConfig, data["dataset"], "dataset."),
    )


def _built(
    found: Configuration, shape: tuple[int, ...], classes: int, weights: Mapping[str, Tensor], where: str
) -> Model:
    model = found.model.build(shape, classes)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wrong := [name for name in sorted(expected.keys() | given.keys()) if expected.get(name) != given.get(name)]:
        name = wrong[0]
        raise CheckpointError(
            f"{where}: the weights are not of this configuration: {name} is {given.get(name, 'missing')}, expected "
            f"{expected.get(name, 'none')}; use the version of vaetune that wrote it"
        )
    model.load_state_dict(weights)
    return model.requires_grad_(False)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); take cpu or cuda"
        ) from error
    return device
