"""Ray Tune as the engine under a phase: it places groups on the cluster, and everything it learns goes to our own hands.

Its searcher, scheduler and callback are thin: what to run next, whether to go on and what to write down are decided by
a `Phase`, which is free of Ray. Tune keeps nothing that a resumed study would need.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from vaetune.study import Resources
from vaetune.study.members import GroupSpec
from vaetune.study.trainable import GroupTrainable

Row = Mapping[str, Any]
"""What one member has to tell: id, epochs (each epoch, time, metrics), outcome, reason, seconds."""


class Phase(Protocol):
    """What a phase decides."""

    def next(self) -> GroupSpec | None:
        """The next group; None while there is nothing to start."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether `next` will never return a group again."""
        ...

    def result(self, spec: GroupSpec, rows: list[Row], device: str) -> bool:
        """Takes in new results; whether the group goes on."""
        ...

    def lost(self, spec: GroupSpec, reason: str) -> None:
        """The group's worker died more often than it is retried."""
        ...


def run(
    phase: Phase,
    data: Mapping[str, Any],
    resources: Resources,
    slots: int,
    interrupted: Callable[[], bool],
    retries: int = 2,
) -> None:
    """Runs all groups of a phase, `slots` at a time, until it is exhausted or `interrupted` says so."""
    request = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
    trainable = tune.with_resources(tune.with_parameters(GroupTrainable, **data), request)
    with tempfile.TemporaryDirectory(prefix="vaetune-tune-") as scratch:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                num_samples=-1,
                search_alg=_Searcher(_Here(phase)),
                scheduler=_Scheduler(_Here(phase)),
                max_concurrent_trials=slots,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                verbose=0,
                stop=_Stopper(_Here(interrupted)),
                callbacks=[_Callback(_Here(phase))],
                failure_config=tune.FailureConfig(max_failures=retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        ).fit()


class _Here:
    """Keeps `it` in this process: Tune pickles its parts into snapshots, which nobody reads."""

    def __init__(self, it: Any) -> None:
        self.it = it

    def __reduce__(self) -> tuple[type[_Here], tuple[None]]:
        return _Here, (None,)


def _name(trial: Trial) -> str:
    return str(trial.config["spec"].id)


class _Searcher(Searcher):
    def __init__(self, phase: _Here) -> None:
        super().__init__()
        self._phase = phase

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._phase.it.exhausted:
            return str(Searcher.FINISHED)
        spec = self._phase.it.next()
        return {"spec": spec} if spec is not None else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the phase learns of every end through `result` and `lost`."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the tables hold all that a resumed search is rebuilt from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""


class _Scheduler(FIFOScheduler):
    def __init__(self, phase: _Here) -> None:
        super().__init__()
        self._phase = phase

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        goes_on = self._phase.it.result(trial.config["spec"], result["rows"], result["device"])
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP


class _Callback(tune.Callback):
    def __init__(self, phase: _Here) -> None:
        self._phase = phase

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        self._phase.it.lost(trial.config["spec"], f"lost: {trial.get_error()}")


class _Stopper(tune.Stopper):
    def __init__(self, interrupted: _Here) -> None:
        self._interrupted = interrupted

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return bool(self._interrupted.it())
