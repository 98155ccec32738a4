"""Ray Tune as the engine under a phase: it places groups on the cluster; all it learns goes into our own hands.

Its searcher, scheduler and callback are thin: what to run next, whether to go on and what to write down are decided by
a `Phase`, which is free of Ray. Tune keeps nothing that a resumed study would need.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ray import tune
from ray.exceptions import RayActorError
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from vaetune.errors import UserError
from vaetune.study import Resources, health
from vaetune.study.members import GroupSpec
from vaetune.study.patience import GaveUp
from vaetune.study.scratch import scratch
from vaetune.study.trainable import GroupTrainable

SILENCE = 15.0
"""Seconds without a result after which the storage is probed: workers that wait for it have no way to say so."""

# Tune copies these from the driver's environment into its workers', by way of what Ray writes into its logs. Workers
# have an environment of their own, which has to hold them for EVALUATE anyway.
_SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}

T = TypeVar("T")
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

    def result(self, spec: GroupSpec, rows: Sequence[Row], device: str) -> bool:
        """Takes in new results; whether the group goes on."""
        ...

    def lost(self, spec: GroupSpec, reason: str) -> None:
        """The group's worker died more often than it is retried."""
        ...


def run(
    phase: Phase,
    data: Mapping[str, Any],
    resources: Callable[[str], Resources],
    slots: int,
    interrupted: Callable[[], bool],
    learn: Callable[[Mapping[str, str]], None] = lambda routes: None,
    limit: float = health.STARTED_HERE,
    retries: int = 2,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Runs all groups of a phase, `slots` at a time, until it is exhausted or `interrupted` says so.

    `resources` of an arm are what its groups ask for.

    `learn` is told the compute routes that workers chose, each combination once, and `say` of a group that is tried
    again. A `UserError` of the phase ends the run in order and is raised afterwards; so does Ray's death, and that no
    worker starts within `limit` seconds.
    """
    guard = _Guard(phase, interrupted, learn, limit, data["storage"].probe, say)
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(_SECRETS)
    # Tune reads its own results back when it is done, and warns that there are none: its loggers are off.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    # A lost worker is a line of ours, not a traceback; of one that is not tried again the ledger has the reason.
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)

    def request(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        asked = resources(config["spec"].members[0].arm)
        return tune.PlacementGroupFactory([{"CPU": asked.cpus} | ({"GPU": asked.gpus} if asked.gpus else {})])

    trainable = tune.with_resources(tune.with_parameters(GroupTrainable, **data), request)
    with scratch() as folder:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                num_samples=-1,
                search_alg=_Searcher(guard),
                scheduler=_Scheduler(guard),
                max_concurrent_trials=slots,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder),
                verbose=0,
                stop=_Stopper(guard),
                callbacks=[_Callback(guard)],
                failure_config=tune.FailureConfig(max_failures=retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        ).fit()
    if guard.error is not None:
        raise guard.error


class _Guard:
    """The phase as Tune's parts see it. It stays in this process: Tune pickles them into snapshots nobody reads."""

    def __init__(
        self,
        phase: Phase | None,
        interrupted: Callable[[], bool] = lambda: False,
        learn: Callable[[Mapping[str, str]], None] = lambda routes: None,
        limit: float = health.STARTED_HERE,
        probe: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.phase, self.interrupted, self._learn, self._probe = phase, interrupted, learn, probe
        self.say = say
        self._waiting = health.Waiting(limit)
        self._heard = time.monotonic()
        self._routes: list[Mapping[str, str]] = []
        self.error: UserError | None = None

    def __reduce__(self) -> tuple[type[_Guard], tuple[None]]:
        return _Guard, (None,)

    def ask(self, question: Callable[[Phase], T], otherwise: T) -> T:
        """The phase's answer; after an error of the user's, `otherwise`, until Tune has stopped."""
        assert self.phase is not None
        if self.error is None:
            try:
                return question(self.phase)
            except UserError as error:
                self.error = error
        return otherwise

    def fail(self, reason: str) -> None:
        """Ends the run for what the user can mend."""
        self.error = self.error or UserError(reason)

    def routes(self, routes: Mapping[str, str]) -> None:
        """Hands on what is news."""
        if routes not in self._routes:
            self._routes.append(routes)
            self.ask(lambda _: self._learn(routes), None)

    def heard(self) -> None:
        """There was a result."""
        self._heard = time.monotonic()

    def look(self, works: bool) -> None:
        """Raises `Lost` where Ray is dead, or nothing has worked for too long; probes the storage in a silence."""
        health.check()
        self._waiting.look(works)
        if time.monotonic() - self._heard > SILENCE:
            self._probe()
            self._heard = time.monotonic()

    def stop(self) -> bool:
        """Whether Tune is to stop everything."""
        return self.error is not None or self.interrupted()


def _name(trial: Trial) -> str:
    return str(trial.config["spec"].id)


class _Searcher(Searcher):
    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self._guard = guard

    def suggest(self, trial_id: str) -> Any:
        if self._guard.ask(lambda phase: phase.exhausted, True):
            return str(Searcher.FINISHED)
        spec = self._guard.ask(lambda phase: phase.next(), None)
        return {"spec": spec} if spec is not None else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the phase learns of every end through `result` and `lost`."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the tables hold all that a resumed search is rebuilt from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""


class _Scheduler(FIFOScheduler):
    def __init__(self, guard: _Guard) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._guard = guard

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The first that waits, unless an actor is just starting for it.

        Tune would give such a trial the first idle actor and end the one that starts. While trials are shorter than a
        start, which takes seconds, all but one worker are then started again and again and never train.
        """
        waiting = (trial for trial in tune_controller.get_trials() if trial.status == Trial.PENDING)
        return next((trial for trial in waiting if trial not in tune_controller._trial_to_actor), None)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        spec = trial.config["spec"]
        self._guard.heard()
        if result["unfit"]:
            self._guard.fail(result["unfit"])
        self._guard.routes(dict(result["routes"]))  # pairs, because Tune flattens dictionaries
        goes_on = self._guard.ask(lambda phase: phase.result(spec, result["rows"], result["device"]), False)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Callback(tune.Callback):
    def __init__(self, guard: _Guard) -> None:
        self._guard = guard

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        # A trial is pending until its worker has come up.
        works = any(trial.status not in (Trial.PENDING, Trial.TERMINATED, Trial.ERROR) for trial in trials)
        self._guard.ask(lambda _: self._guard.look(works), None)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        self._guard.say(f"{_name(trial)}: its worker was lost; it goes on from its last checkpoint")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        error = trial.get_pickled_error()
        reason = f"worker lost: {trial.get_error()}"

        def lost(phase: Phase) -> None:
            health.check()
            # No faults of the group's, which a resumed study does not count but trains.
            if isinstance(error, GaveUp):
                raise GaveUp(str(error.args[0]))
            if isinstance(error, RayActorError) and error.actor_init_failed:
                raise health.Lost(f"workers do not start: {reason.strip().splitlines()[-1]}")
            phase.lost(trial.config["spec"], reason)

        self._guard.ask(lost, None)


class _Stopper(tune.Stopper):
    def __init__(self, guard: _Guard) -> None:
        self._guard = guard

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._guard.stop()
