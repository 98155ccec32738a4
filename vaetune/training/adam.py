"""Adam with decoupled weight decay over R stacked members, each with its own learning rate and decay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vaetune.models.base import below


class Adam:
    """AdamW (Loshchilov & Hutter 2019) through torch's fused kernel, called once a member on views of the stack.

    The kernel is called directly because `torch.optim.AdamW` knows one learning rate a parameter, and a stacked
    parameter has R. Same numbers as `torch.optim.AdamW(fused=True)` for each member. Decay spares the biases. Only
    parameters below the paths `modules` are stepped ("" for all).
    """

    def __init__(
        self,
        model: nn.Module,
        beta1: float,
        beta2: float,
        weight_decay: Sequence[float],
        modules: Sequence[str] = ("",),
    ) -> None:
        self.betas = (beta1, beta2)
        self.weight_decay = list(weight_decay)
        self.modules = tuple(modules)
        self.parameters = self._mine(model)
        self.first = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.second = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self._step = torch.zeros((), device=next(iter(self.parameters.values())).device)
        self._bind()

    @property
    def steps(self) -> int:
        """The updates so far. They are counted on the device, so that a step can be captured; asking waits for it."""
        return round(self._step.item())

    def _mine(self, model: nn.Module) -> dict[str, nn.Parameter]:
        return {name: p for name, p in model.named_parameters() if below(name, self.modules)}

    def _bind(self) -> None:
        parameters = list(self.parameters.values())
        self._stacked = [[p.detach().unbind(0) for p in parameters]]
        self._stacked += [[m.unbind(0) for m in moments.values()] for moments in (self.first, self.second)]
        # A member's bias has one dimension, stacked two.
        self._decayed = [p.dim() > 2 for p in parameters]

    def step(self, learning_rate: Sequence[float]) -> None:
        """One update from the gradients at hand, which are then dropped; `learning_rate` has one number a member."""
        grads = []
        for parameter in self.parameters.values():
            assert parameter.grad is not None
            grads.append(parameter.grad.unbind(0))
            parameter.grad = None
        self._step.add_(1)
        for member, (rate, decay) in enumerate(zip(learning_rate, self.weight_decay, strict=True)):
            for chosen, weight_decay in ((True, decay), (False, 0.0)) if decay else ((None, 0.0),):
                index = [i for i, d in enumerate(self._decayed) if chosen is None or d is chosen]
                p, m, v = ([column[i][member] for i in index] for column in self._stacked)
                torch._fused_adamw_(
                    p,
                    [grads[i][member] for i in index],
                    m,
                    v,
                    [],
                    [self._step] * len(index),
                    lr=rate,
                    beta1=self.betas[0],
                    beta2=self.betas[1],
                    weight_decay=weight_decay,
                    eps=1e-8,
                    amsgrad=False,
                    maximize=False,
                )

    def keep(self, model: nn.Module, members: Sequence[int]) -> None:
        """Follows `members.keep`: the stack's parameters are new tensors, and only those members are left."""
        index = torch.tensor(members, device=self._step.device)
        self.parameters = self._mine(model)
        self.first = {name: m[index] for name, m in self.first.items()}
        self.second = {name: v[index] for name, v in self.second.items()}
        self.weight_decay = [self.weight_decay[i] for i in members]
        self._bind()

    def state(self, member: int) -> dict[str, Tensor]:
        """One member's moments, by name, for a checkpoint."""
        return {f"adam.first.{n}": m[member].clone() for n, m in self.first.items()} | {
            f"adam.second.{n}": v[member].clone() for n, v in self.second.items()
        }

    def load(self, member: int, state: Mapping[str, Tensor], steps: int) -> None:
        """The inverse of `state`; `steps` is shared by all members."""
        for name in self.parameters:
            self.first[name][member].copy_(state[f"adam.first.{name}"])
            self.second[name][member].copy_(state[f"adam.second.{name}"])
        self._step.fill_(steps)
        self._bind()
