"""The same networks under Lightning's Trainer, its screen output, loggers and checkpoints switched off."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.networks import Network
from benchmarks.timing import Route


class Module(lightning.LightningModule):
    """A LightningModule around a network with `loss`."""

    def __init__(self, network: Network, rate: float) -> None:
        super().__init__()
        self.network = network
        # Made once: every `fit` asks again, and must not forget the moments.
        self.adam = torch.optim.Adam(network.parameters(), lr=rate)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        """The mean loss of a batch."""
        x, y = batch
        loss: torch.Tensor = self.network.loss(x, y) / len(x)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(x))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam as it comes."""
        return self.adam


def trainer(name: str, network: Network, dataset: Dataset[Any], batch: int, rate: float) -> Route:
    """One `Trainer.fit` that is asked for one more epoch each time."""
    for logger in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    fit = _fit(Module(network, rate), DataLoader(dataset, batch_size=batch, shuffle=True))
    return Route(name, fit)


def sequential(name: str, networks: Sequence[Network], dataset: Dataset[Any], batch: int, rate: float) -> Route:
    """Several networks, one after the other."""
    fits = [trainer(name, network, dataset, batch, rate).epoch for network in networks]
    return Route(name, lambda: sum(fit() for fit in fits) / len(fits))


def _fit(module: Module, loader: DataLoader[Any]) -> Callable[[], float]:
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )

    def fit() -> float:
        assert trainer.fit_loop.max_epochs is not None
        trainer.fit_loop.max_epochs += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice about worker processes
            trainer.fit(module, loader)
        return float(trainer.callback_metrics["loss"])

    return fit
