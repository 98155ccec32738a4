"""Does the model know what it has never seen? AUROC and FPR95 of three scores, against images of another kind."""

from __future__ import annotations

import torch
from torch import Tensor

from vaetune import elbo
from vaetune.evaluation.battery import Row, predict
from vaetune.models.base import Classifier

_BATCH = 1000


def pixel_noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """As many images as x, of pixels drawn uniformly from [0, 1]."""
    return torch.rand(x.shape, generator=generator, device=x.device)


@torch.inference_mode()
def detection(model: Classifier, inside: Tensor, outside: Tensor, name: str) -> list[Row]:
    """Rows "ood/NAME/SCORE/auroc" and "…/fpr95" for images [N, C, H, W] in [0, 1] of the test split and others.

    The scores: 1 − the largest probability (Hendrycks & Gimpel 2017), the prediction's entropy, and, where there is
    additive noise on the latent, the rate KL(q(z|x) ‖ N(0, I)) of the image; all at the posterior mean.
    """
    rows: list[Row] = []
    for score, known, other in _scores(model, inside, outside):
        rows.append((f"ood/{name}/{score}/auroc", None, auroc(known, other)))
        rows.append((f"ood/{name}/{score}/fpr95", None, fpr95(known, other)))
    return rows


def auroc(known: Tensor, other: Tensor) -> float:
    """P(an outlier scores higher than an image of the test split), ties counting half: scores [N], [M]."""
    from torchmetrics.functional.classification import binary_auroc

    # Ranks: torchmetrics takes scores outside [0, 1] for logits and would round large ones together.
    scores = torch.cat([known, other])
    ranks = torch.unique(scores, return_inverse=True)[1].double()
    labels = torch.cat([torch.zeros_like(known), torch.ones_like(other)]).long()
    return float(binary_auroc(ranks / ranks.max().clamp(min=1), labels))


def fpr95(known: Tensor, other: Tensor) -> float:
    """The share of outliers taken for known where 95 % of the known are: scores [N], [M], higher is stranger."""
    threshold = known.quantile(0.95, interpolation="higher")
    return float((other <= threshold).double().mean())


def _scores(model: Classifier, inside: Tensor, outside: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for x in (inside, outside):
        log_p = predict(model, x).log_softmax(-1)
        p = log_p.exp()
        found.setdefault("max_softmax", []).append(1 - p.max(-1).values)
        found.setdefault("entropy", []).append(-(p * log_p).sum(-1))
        codes = [model.code(part) for part in torch.split(x, _BATCH)]
        rates = [elbo.kl_normal(c.mu.double(), c.sigma.double()) for c in codes if c.sigma is not None]
        if rates:
            found.setdefault("rate", []).append(torch.cat(rates))
    return [(name, known, other) for name, (known, other) in found.items()]
