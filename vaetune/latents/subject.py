"""What is looked at: a model together with images, their codes computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from vaetune import elbo
from vaetune.bottlenecks import Code
from vaetune.errors import UserError
from vaetune.latents.axes import Axes
from vaetune.models.base import Classifier, Generative, Model
from vaetune.models.decoding import coded, decoded, decodes

T = TypeVar("T")
_BATCH = 500


class Subject:
    """A `model` on some device, `images` uint8 [N, C, H, W] and `labels` int64 [N] there too, and a name to show.

    What is shown is without noise unless it says so. Codes, axes and probabilities are computed when first asked for
    and kept; after a change of the model's weights make a new subject.
    """

    def __init__(self, name: str, model: Model, images: Tensor, labels: Tensor, class_names: Sequence[str]) -> None:
        if not isinstance(model, Classifier | Generative):
            raise UserError(f"a model {model.config.kind!r} has no latent space to look at")
        if len(images) < 2:
            raise UserError(f"a latent space is looked at with 2 images at least, found {len(images)}")
        model.check(images, labels)
        self.name = name
        self.model: Classifier | Generative = model
        self.images, self.labels = images, labels
        self.class_names = tuple(class_names)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def decodes(self) -> bool:
        """Whether the model has a decoder."""
        return decodes(self.model)

    @property
    def conditional(self) -> bool:
        """Whether the model decodes with a label."""
        return isinstance(self.model, Generative) and self.model.conditional

    @property
    def latents(self) -> int:
        """The size Z of the latent space."""
        return self.mu.shape[1]

    def x(self, index: Sequence[int] | Tensor | slice) -> Tensor:
        """The images at `index` as the model takes them: float32 [B, C, H, W] in [0, 1]."""
        return self.images[index].float() / 255

    @cached_property
    def _codes(self) -> list[Code]:
        return self._batches(lambda x, y: coded(self.model, x, y))

    @cached_property
    def mu(self) -> Tensor:
        """Posterior means [N, Z]."""
        return torch.cat([code.mu for code in self._codes])

    @cached_property
    def sigma(self) -> Tensor | None:
        """Posterior standard deviations [N, Z]; None where the code has no noise of its own."""
        found = [code.sigma for code in self._codes if code.sigma is not None]
        return torch.cat(found) if found else None

    @cached_property
    def kl(self) -> Tensor | None:
        """Mean KL(q(z|x) ‖ N(0, I)) of each latent over the images, [Z] in nats; None without σ."""
        return None if self.sigma is None else elbo.kl_normal_each(self.mu, self.sigma).mean(0)

    @cached_property
    def latent_axes(self) -> Axes:
        """The latents themselves, by falling KL; by falling variance of μ where there is no σ."""
        return Axes.latents(self.mu, self.kl)

    @cached_property
    def principal_axes(self) -> Axes:
        """The principal axes of the posterior means, by falling variance."""
        return Axes.principal(self.mu)

    @cached_property
    def probabilities(self) -> Tensor | None:
        """Class probabilities [N, classes]; None where the model does not classify."""
        model = self.model
        if not isinstance(model, Classifier):
            return None
        return torch.cat(self._batches(lambda x, _: model.predict(x).softmax(-1)))

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor | int | None = None) -> Tensor:
        """The mean of p(x|z) as images [B, C, H, W] in [0, 1], for latents [B, Z].

        `y` is a label for all or one for each; models that decode with one need it.
        """
        if not decodes(self.model):
            raise UserError(
                f"{self.name} has no decoder, so there is nothing to decode: take an arm with one, such as "
                "svae_decoder, or a generative model"
            )
        if y is None and self.conditional:
            raise UserError(f"{self.name} decodes with a label: give one")
        labels = torch.as_tensor(0 if y is None else y, device=z.device).expand(len(z))
        out = [decoded(self.model, *part) for part in zip(z.split(_BATCH), labels.split(_BATCH), strict=True)]  # type: ignore[no-untyped-call]
        return torch.cat(out).clamp(0, 1)

    @cached_property
    def reconstructions(self) -> Tensor:
        """What is decoded from the posterior means, [N, C, H, W]."""
        return self.decode(self.mu, self.labels)

    def class_center(self, label: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over a class's posterior means, [Z] each."""
        mine = self.mu[self.labels == label]
        if len(mine) < 2:
            raise UserError(f"{self.name} is looked at with {len(mine)} images of class {label}: give it more images")
        return mine.mean(0), mine.std(0)

    def neighbours(self, index: int, n: int = 5) -> Tensor:
        """The `n` other images whose means are nearest to that of image `index`, nearest first: int64 [n]."""
        distance = (self.mu - self.mu[index]).square().sum(1)
        distance[index] = torch.inf
        return distance.argsort()[:n]

    @torch.no_grad()
    def _batches(self, function: Callable[[Tensor, Tensor], T]) -> list[T]:
        starts = range(0, len(self), _BATCH)
        return [function(self.x(slice(i, i + _BATCH)), self.labels[i : i + _BATCH]) for i in starts]
