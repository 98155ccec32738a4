"""Error under attack: FGSM and PGD within an ℓ∞ ball, through foolbox, with gradients averaged over the noise."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from vaetune.errors import UserError
from vaetune.evaluation.battery import Row, averaged
from vaetune.models.base import Classifier
from vaetune.noise import Noise

EPSILONS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
STEPS = 20


class _Averaged(nn.Module):
    """The prediction that is attacked: probabilities averaged over fresh noise, as logarithms.

    Its gradient is the average over the noise (expectation over transformation, Athalye et al. 2018): one noisy pass
    would hide the slope behind the noise and make the attack look weaker than it is.
    """

    def __init__(self, model: Classifier, samples: int, generator: torch.Generator) -> None:
        super().__init__()
        self.model, self.samples, self.noise = model, samples, Noise(generator)

    def forward(self, x: Tensor) -> Tensor:
        return averaged(self.model, x, self.samples, self.noise)


def robustness(model: Classifier, x: Tensor, y: Tensor, samples: int, generator: torch.Generator) -> list[Row]:
    """Rows "attack/fgsm" and "attack/pgd": the error at each ε (x of the row) on images [N, C, H, W] in [0, 1].

    FGSM: Goodfellow et al. (2015); PGD: Madry et al. (2018), 20 steps of ε / 10 from a random start. Error is that of
    the averaged prediction, on the noise of the attack's own last look and at ε = 0 on fresh noise. Raises `UserError`
    where foolbox is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its dependencies' own
            foolbox: Any = importlib.import_module("foolbox")
    except ImportError:
        raise UserError('attacks need foolbox: pip install "vaetune[attacks]", or leave --battery full out') from None
    training = model.training
    model.eval()
    attacked = foolbox.PyTorchModel(_Averaged(model, samples, generator).eval(), bounds=(0, 1), device=x.device)
    pgd = foolbox.attacks.LinfPGD(steps=STEPS, rel_stepsize=0.1, random_start=True)
    attacks = {"fgsm": foolbox.attacks.LinfFastGradientAttack(random_start=False), "pgd": pgd}
    rows: list[Row] = []
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(generator.initial_seed())  # foolbox draws its random starts from the global generator
        for name, attack in attacks.items():
            for epsilon in EPSILONS:
                _, changed, _ = attack(attacked, x, y, epsilons=epsilon) if epsilon else (None, x, None)
                with torch.no_grad():
                    wrong = attacked(changed).argmax(-1) != y
                rows.append((f"attack/{name}", epsilon, float(wrong.double().mean())))
    model.train(training)
    return rows
