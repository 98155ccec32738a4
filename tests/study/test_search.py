"""The search without Ray: a small world in which trials advance rung by rung, in any order, and die at any point."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from vaetune.config import DatasetConfig
from vaetune.study import Arm, Budget, Objective, Study, TrainingConfig
from vaetune.study.search import ArmSearch, Search, Suggestion, score

BUDGET = Budget(trials=9, audit=3, grace=2, reduction=2)
METRIC, TIE = "val/error", "val/nll_scaled"


def shared(trial: optuna.Trial) -> Mapping[str, Any]:
    return {
        "training.learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "training.epochs": trial.suggest_categorical("epochs", [5, 9]),
    }


def beta(trial: optuna.Trial) -> Mapping[str, Any]:
    return {"model.beta": trial.suggest_float("beta", 1e-4, 1.0, log=True)}


def conditional(trial: optuna.Trial) -> Mapping[str, Any]:
    """A space with two branches, one of which has a branch of its own."""
    kind = trial.suggest_categorical("kind", ["dropout", "smoothing", None])
    if kind == "dropout":
        return {"model.dropout": trial.suggest_float("dropout", 0.0, 0.9)}
    if kind == "smoothing":
        amount = trial.suggest_float("amount", 0.01, 0.5)
        decay = trial.suggest_int("decay", 1, 8) if amount > 0.2 else 1
        return {"model.label_smoothing": amount, "training.decay_every": decay}
    return {}


PLAIN = Arm(name="plain", summary="")
SVAE = Arm(name="svae", summary="", overrides={"model.bottleneck": "gaussian"}, space=beta)
MIXED = Arm(name="mixed", summary="", space=conditional)
STUDY = Study(
    name="demo",
    hypothesis="",
    arms=(PLAIN, SVAE, MIXED),
    space=shared,
    budget=BUDGET,
    training=TrainingConfig(epochs=9),
    dataset=DatasetConfig(name="digits"),
)


def fake(suggestion: Suggestion, epoch: int) -> dict[str, float]:
    """A validation error with an optimum inside the space, rounded so that ties occur, and a finer NLL."""
    params = suggestion.params
    distance = abs(math.log10(params["learning_rate"]) + 2.5) + abs(math.log10(params.get("beta", 1e-2)) + 2)
    distance += abs(params.get("dropout", 0.4) - 0.4) + abs(params.get("amount", 0.1) - 0.1)
    value = distance / 5 + 1 / epoch
    return {METRIC: round(value, 1), TIE: value}


def fails(suggestion: Suggestion) -> int:
    """The epoch at which a trial diverges, or 0: a function of what was sampled, as in the real thing."""
    return 4 if 2e-2 < suggestion.params["learning_rate"] < 5e-2 else 0


@dataclass
class World:
    """A search and its trials under way; `ledger` and `history` are what an interrupted run leaves behind."""

    study: Study = STUDY
    parallel: int = 1
    root: int = 0
    objective: Callable[[Suggestion, int], dict[str, float]] = fake
    fails: Callable[[Suggestion], int] = fails
    ledger: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    asked: dict[str, Suggestion] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.search = Search(self.study, self.root, self.parallel)
        columns = ["member_id", "epoch", "metric", "value"]
        self.search.replay(
            pd.DataFrame(self.ledger, columns=None if self.ledger else ["phase"]),
            pd.DataFrame(self.history, columns=columns),
        )
        self.running: dict[str, tuple[Suggestion, int]] = {}
        self.fill()

    def fill(self) -> None:
        while (suggestion := self.search.next()) is not None:
            self.asked[suggestion.trial_id] = suggestion
            self.running[suggestion.trial_id] = (suggestion, 0)

    def advance(self, trial_id: str) -> None:
        """One epoch of one trial, and what follows from it; frees its place if it ends."""
        suggestion, epoch = self.running.pop(trial_id)
        epoch, length = epoch + 1, suggestion.configuration.training.epochs
        diverged = self.fails(suggestion) == epoch
        metrics = self.objective(suggestion, epoch)
        if diverged:
            metrics = dict.fromkeys(metrics, math.nan)
        self.history += [
            {"member_id": trial_id, "epoch": epoch, "metric": name, "value": value} for name, value in metrics.items()
        ]
        goes_on = epoch not in self.search.levels(trial_id, length) or self.search.report(trial_id, epoch, metrics)
        if diverged:
            self.end(suggestion, "failed", epoch, {})
        elif epoch == length:
            self.end(suggestion, "finished", epoch, metrics)
        elif not goes_on:
            self.end(suggestion, "stopped", epoch, metrics)
        else:
            self.running[trial_id] = (suggestion, epoch)

    def end(self, suggestion: Suggestion, outcome: str, epochs: int, metrics: Mapping[str, float]) -> None:
        value = metrics.get(self.study.objective.metric)
        self.search.tell(suggestion.trial_id, outcome, value if outcome == "finished" else None)
        self.ledger.append(
            {
                "trial_id": suggestion.trial_id,
                "phase": "search",
                "arm": suggestion.arm.name,
                "search": suggestion.search,
                "number": suggestion.number,
                "params": json.dumps(suggestion.params),
                "outcome": outcome,
                "objective": value,
                "epochs": epochs,
                "length": suggestion.configuration.training.epochs,
            }
        )
        self.fill()

    def run(self, rng: random.Random | None = None, steps: int = 10**6) -> World:
        """Lets trials advance in the order of `rng` (None: in turn) until all have ended or `steps` are done."""
        while self.running and steps:
            self.advance(rng.choice(list(self.running)) if rng else next(iter(self.running)))
            steps -= 1
        return self

    def interrupted(self, parallel: int | None = None) -> World:
        """The driver dies and is started again: what ran is forgotten, but for its history."""
        return World(
            self.study, parallel or self.parallel, self.root, self.objective, self.fails, self.ledger, self.history
        )

    def transcript(self) -> dict[str, tuple[Any, ...]]:
        """Per trial what was sampled and what became of it."""
        return {
            row["trial_id"]: (row["params"], row["outcome"], row["objective"], row["epochs"]) for row in self.ledger
        }

    def of(self, arm: str, search: int = 0) -> ArmSearch:
        return next(a for a in self.search.arms if (a.arm.name, a.search) == (arm, search))

    def params(self, arm: str, search: int = 0) -> list[dict[str, Any]]:
        """What an arm sampled, by number."""
        mine = [row for row in self.ledger if (row["arm"], row["search"]) == (arm, search)]
        return [json.loads(row["params"]) for row in sorted(mine, key=lambda row: row["number"])]


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, tuple[Any, ...]]:
    return World().run().transcript()


def test_the_world_has_everything_in_it(undisturbed: dict[str, tuple[Any, ...]]) -> None:
    assert {outcome for _, outcome, _, _ in undisturbed.values()} == {"finished", "stopped", "failed"}
    assert len({epochs for _, outcome, _, epochs in undisturbed.values() if outcome == "stopped"}) > 1
    kinds = [json.loads(params).get("kind") for id, (params, *_) in undisturbed.items() if id.startswith("mixed")]
    assert set(kinds) == {"dropout", "smoothing", None}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_arm_searches_the_same_whatever_the_order_of_results(
    seed: int, undisturbed: dict[str, tuple[Any, ...]]
) -> None:
    assert World().run(random.Random(seed)).transcript() == undisturbed


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), kills=st.lists(st.integers(0, 60), min_size=1, max_size=3))
def test_a_search_killed_at_any_point_goes_on_as_if_it_had_not_been(
    seed: int, kills: list[int], undisturbed: dict[str, tuple[Any, ...]]
) -> None:
    rng, world = random.Random(seed), World()
    for steps in kills:
        world = world.run(rng, steps).interrupted()
    assert world.run(rng).transcript() == undisturbed


def test_a_search_killed_after_every_single_trial(undisturbed: dict[str, tuple[Any, ...]]) -> None:
    world = World()
    while world.running:
        first = next(iter(world.running))
        while first in world.running:
            world.advance(first)
        world = world.interrupted()
    assert world.transcript() == undisturbed


def test_replay_rebuilds_optuna_and_the_rungs() -> None:
    world = World().run()
    again = world.interrupted()
    for before, after in zip(world.search.arms, again.search.arms, strict=True):
        assert after.rungs.scores == before.rungs.scores
        assert [_facts(t) for t in after.optuna.trials] == [_facts(t) for t in before.optuna.trials]
    assert again.search.exhausted


def _facts(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
    return trial.number, trial.state, trial.params, trial.distributions, trial.intermediate_values, trial.values


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), parallel=st.integers(2, 5), kill=st.integers(0, 60))
def test_no_trial_is_lost_or_doubled_when_several_of_an_arm_were_under_way(seed: int, parallel: int, kill: int) -> None:
    """A number below that of a trial that ended may have died with the driver; its budget is spent all the same."""
    rng = random.Random(seed)
    world = World(parallel=parallel).run(rng, kill).interrupted().run(rng)
    ids = [row["trial_id"] for row in world.ledger]
    assert sorted(ids) == sorted(f"{arm.name}-{number:04d}" for arm in STUDY.arms for number in range(BUDGET.trials))
    audit = {id: params for id, (params, *_) in World().run().transcript().items() if int(id[-4:]) < BUDGET.audit}
    assert {id: world.transcript()[id][0] for id in audit} == audit


def test_the_history_of_a_trial_that_began_anew_ends_where_its_ledger_says() -> None:
    """It was at epoch 8 when the driver died; begun again with other parameters it was stopped at epoch 2."""
    world = World().run()
    row = next(row for row in world.ledger if row["outcome"] == "stopped" and (row["epochs"], row["length"]) == (2, 9))
    world.history += [
        {"member_id": row["trial_id"], "epoch": 4, "metric": name, "value": 0.0} for name in (METRIC, TIE)
    ]
    again = world.interrupted()
    assert str(row["number"]) in again.of(row["arm"]).rungs.scores[2]
    assert str(row["number"]) not in again.of(row["arm"]).rungs.scores[4]


def test_of_two_values_of_one_epoch_the_later_counts() -> None:
    world = World().run()
    stale = [entry | {"value": 0.0} for entry in world.history]
    world.history = stale + world.history
    again = world.interrupted()
    assert [a.rungs.scores for a in again.search.arms] == [a.rungs.scores for a in world.search.arms]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), parallel=st.integers(1, 4), searches=st.integers(1, 2))
def test_every_arm_spends_the_same_number_of_trials(seed: int, parallel: int, searches: int) -> None:
    world = World(replace(STUDY, budget=replace(BUDGET, searches=searches, audit=9)), parallel, fails=lambda _: 0)
    rng = random.Random(seed)
    assert len(world.running) == parallel * len(STUDY.arms) * searches
    while world.running:
        assert not world.search.exhausted or not any(a.waiting for a in world.search.arms)
        world.run(rng, 1)
    assert world.search.exhausted
    assert world.search.next() is None
    spent = pd.DataFrame(world.ledger).groupby(["arm", "search"])["number"].apply(lambda n: sorted(n)).tolist()
    assert spent == [list(range(BUDGET.trials))] * len(STUDY.arms) * searches


def test_trials_are_handed_out_in_turn() -> None:
    search = Search(STUDY, 0, parallel=BUDGET.trials)
    arms = []
    while (suggestion := search.next()) is not None:
        arms.append(suggestion.arm.name)
    assert arms == ["plain", "svae", "mixed"] * BUDGET.trials
    assert search.exhausted


def test_an_arm_that_has_fallen_behind_comes_first() -> None:
    search = Search(STUDY, 0, parallel=2)
    handed = [search.next() for _ in range(6)]
    assert search.next() is None
    for suggestion in handed:
        if suggestion is not None and suggestion.arm.name == "svae":
            search.tell(suggestion.trial_id, "failed", None)
    following = [search.next(), search.next()]
    assert [s.arm.name for s in following if s] == ["svae", "svae"]
    first = handed[0]
    assert first is not None
    search.tell(first.trial_id, "failed", None)
    behind = search.next()
    assert behind is not None
    assert behind.arm.name == "plain"


def test_the_audit_slice_is_the_same_shared_draws_in_every_arm() -> None:
    world = World().run()
    alone = World(replace(STUDY, arms=(PLAIN,))).run()
    draws = {arm.name: world.params(arm.name) for arm in STUDY.arms}
    for number in range(BUDGET.trials):
        values = {(params[number]["learning_rate"], params[number]["epochs"]) for params in draws.values()}
        assert len(values) == (1 if number < BUDGET.audit else 3)
    assert alone.params("plain") == draws["plain"]
    assert len({params["learning_rate"] for params in draws["plain"][: BUDGET.audit]}) == BUDGET.audit


def test_the_audit_slice_owes_nothing_to_results() -> None:
    other = World(objective=lambda s, epoch: {METRIC: s.params["learning_rate"], TIE: 0.0}, fails=lambda _: 0).run()
    one = World().run()
    for arm in STUDY.arms:
        assert one.params(arm.name)[: BUDGET.audit] == other.params(arm.name)[: BUDGET.audit]
        assert one.params(arm.name)[BUDGET.audit :] != other.params(arm.name)[BUDGET.audit :]


def test_the_audit_draws_cover_the_space_uniformly() -> None:
    """On a logarithmic scale: each third of the range gets its share, as independent uniform draws would have it."""
    world = World(replace(STUDY, arms=(PLAIN,), budget=Budget(trials=90, audit=90)), fails=lambda _: 0).run()
    thirds = [int(math.log10(params["learning_rate"]) + 4) for params in world.params("plain")]
    assert all(18 <= thirds.count(third) <= 42 for third in range(3)), thirds


def test_audit_trials_are_never_stopped_and_judge_the_others() -> None:
    def worse_and_worse(suggestion: Suggestion, epoch: int) -> dict[str, float]:
        return {METRIC: 0.1 * suggestion.number, TIE: 0.0}

    world = World(objective=worse_and_worse, fails=lambda _: 0).run()
    for row in world.ledger:
        assert row["outcome"] == ("finished" if row["number"] < BUDGET.audit else "stopped"), row
    assert set(world.of("plain").rungs.scores[2]) == {str(number) for number in range(BUDGET.trials)}
    assert [s.slice for s in world.asked.values() if s.arm is PLAIN] == ["audit"] * 3 + ["asha"] * 6


def test_arms_do_not_see_each_other() -> None:
    """The rungs and the sampler of an arm are the same beside good arms, beside bad ones and alone."""

    def terrible_plain(suggestion: Suggestion, epoch: int) -> dict[str, float]:
        worse = 10 if suggestion.arm is PLAIN else 0
        return {name: value + worse for name, value in fake(suggestion, epoch).items()}

    usual, alone = World().run(), World(replace(STUDY, arms=(SVAE,))).run()
    beside_terrible = World(objective=terrible_plain).run()
    for other in (alone, beside_terrible):
        assert [row for row in other.ledger if row["arm"] == "svae"] == [
            row for row in usual.ledger if row["arm"] == "svae"
        ]
    outcomes = [[row["outcome"] for row in w.ledger if row["arm"] == "plain"] for w in (usual, beside_terrible)]
    assert outcomes[0] == outcomes[1]


def test_optuna_hears_the_truth() -> None:
    world = World().run()
    for arm in world.search.arms:
        mine = {row["number"]: row for row in world.ledger if row["arm"] == arm.arm.name}
        assert len(arm.optuna.trials) == BUDGET.trials
        for trial in arm.optuna.trials:
            row = mine[trial.number]
            assert (
                trial.state
                == {
                    "finished": TrialState.COMPLETE,
                    "stopped": TrialState.PRUNED,
                    "failed": TrialState.FAIL,
                }[row["outcome"]]
            )
            levels = [epoch for epoch in arm.rungs.levels(row["length"]) if epoch <= row["epochs"]]
            if row["outcome"] == "failed":
                levels = [epoch for epoch in levels if epoch < row["epochs"]]  # the last had no score
            assert sorted(trial.intermediate_values) == levels
            assert not trial.intermediate_values or all(map(math.isfinite, trial.intermediate_values.values()))
            if row["outcome"] == "finished":
                assert trial.value == row["objective"]
            if row["outcome"] == "stopped":
                assert trial.value == trial.intermediate_values[row["epochs"]] == row["objective"]


def test_a_failed_trial_counts_against_its_arm_and_is_not_drawn_again() -> None:
    world = World(fails=lambda s: 1 if s.arm is SVAE else 0).run()
    svae = [row for row in world.ledger if row["arm"] == "svae"]
    assert len(svae) == BUDGET.trials
    assert {row["outcome"] for row in svae} == {"failed"}
    drawn = [params["learning_rate"] for params in world.params("svae")]
    assert len(set(drawn)) == BUDGET.trials
    assert {t.state for t in world.of("svae").optuna.trials} == {TrialState.FAIL}


def test_a_score_that_is_not_finite_judges_nobody() -> None:
    search = Search(STUDY, 0, parallel=3)
    suggestions = [search.next() for _ in range(9)]
    mine = [s.trial_id for s in suggestions if s is not None and s.arm is PLAIN]
    assert search.report(mine[0], 2, {METRIC: math.nan, TIE: math.nan})
    assert search.report(mine[0], 2, {METRIC: 0.1, TIE: math.inf})
    assert search.arms[0].rungs.scores == {}
    search.tell(mine[0], "finished", math.nan)
    search.tell(mine[1], "finished", math.inf)
    assert [t.state for t in search.arms[0].optuna.trials] == [TrialState.FAIL, TrialState.FAIL, TrialState.RUNNING]


@pytest.mark.parametrize("missing", [METRIC, TIE])
def test_a_result_without_the_metric_is_an_error_that_names_it(missing: str) -> None:
    search = Search(STUDY, 0, parallel=1)
    suggestion = search.next()
    assert suggestion is not None
    metrics = {name: 0.5 for name in (METRIC, TIE, "train/loss") if name != missing}
    with pytest.raises(ValueError, match=f"without {missing}; it has .*train/loss"):
        search.report(suggestion.trial_id, 2, metrics)


def test_maximize_turns_everything_round_but_the_tie_breaker() -> None:
    objective = Objective(metric="val/accuracy", direction="maximize", unit="", tie="val/nll")
    study = replace(STUDY, objective=objective)
    assert score(study, {"val/accuracy": 0.9, "val/nll": 0.3}) < score(study, {"val/accuracy": 0.8, "val/nll": 0.1})
    assert score(study, {"val/accuracy": 0.9, "val/nll": 0.3}) > score(study, {"val/accuracy": 0.9, "val/nll": 0.1})
    search = Search(study, 0, parallel=9)
    mine = [s.trial_id for s in iter(search.next, None) if s is not None and s.arm is PLAIN][BUDGET.audit :]
    goes_on = [
        search.report(id, 2, {"val/accuracy": a, "val/nll": 0.0}) for id, a in zip(mine, (0.5, 0.4, 0.6), strict=False)
    ]
    assert goes_on == [True, False, True]
    for id, value in zip(mine[:3], (0.5, 0.4, 0.6), strict=True):
        search.tell(id, "finished", value)
    assert search.arms[0].optuna.best_value == 0.6
    assert search.arms[0].optuna.direction.name == "MAXIMIZE"


def test_maximizing_the_negative_is_minimizing() -> None:
    def exact(suggestion: Suggestion, epoch: int) -> dict[str, float]:
        value = fake(suggestion, epoch)[TIE]  # without ties, whose order Optuna turns round too
        return {METRIC: value, "val/negative": -value, TIE: 0.0}

    negative = replace(STUDY, objective=Objective(metric="val/negative", direction="maximize", tie=TIE))
    ends = [
        [(row["trial_id"], row["params"], row["outcome"], row["epochs"]) for row in world.ledger]
        for world in (World(objective=exact).run(), World(negative, objective=exact).run())
    ]
    assert ends[0] == ends[1]
    assert "stopped" in {outcome for _, _, outcome, _ in ends[0]}


def test_searches_of_one_arm_are_independent() -> None:
    world = World(replace(STUDY, budget=replace(BUDGET, searches=2)))
    world.run()
    assert {row["trial_id"] for row in world.ledger} == {
        f"{arm.name}.s{search}-{number:04d}" for arm in STUDY.arms for search in (0, 1) for number in range(9)
    }
    for arm in STUDY.arms:
        first, second = world.params(arm.name, 0), world.params(arm.name, 1)
        assert not {p["learning_rate"] for p in first} & {p["learning_rate"] for p in second}
        assert world.of(arm.name, 0).rungs is not world.of(arm.name, 1).rungs
    assert world.params("svae", 0) == World().run().params("svae"), "the first search is that of a study with one"


def test_several_searches_survive_a_kill() -> None:
    study = replace(STUDY, budget=replace(BUDGET, searches=2))
    killed = World(study).run(random.Random(1), 70).interrupted().run(random.Random(2))
    assert killed.transcript() == World(study).run().transcript()


def test_arms_of_one_stream_have_identical_searches_and_others_do_not() -> None:
    twins = tuple(Arm(name=name, summary="", space=beta, stream="ours") for name in ("one", "two"))
    other = Arm(name="three", summary="", space=beta)
    world = World(replace(STUDY, arms=(*twins, other))).run(random.Random(0))
    assert world.params("one") == world.params("two")
    assert world.params("one")[: BUDGET.audit] == world.params("three")[: BUDGET.audit]
    assert world.params("one")[BUDGET.audit :] != world.params("three")[BUDGET.audit :]


@pytest.mark.parametrize("change", ["root", "name", "dataset"])
def test_another_root_study_or_dataset_is_another_search(change: str) -> None:
    study = STUDY
    if change == "name":
        study = replace(STUDY, name="other")
    if change == "dataset":
        study = replace(STUDY, dataset=DatasetConfig(name="mnist"))
    other = World(study, root=1 if change == "root" else 0).run()
    assert not {p["learning_rate"] for p in other.params("plain")} & {
        p["learning_rate"] for p in World().run().params("plain")
    }


def test_conditional_spaces_sample_only_the_branch_taken_and_learn_it_as_one() -> None:
    world = World(replace(STUDY, arms=(MIXED,), budget=replace(BUDGET, trials=30)), fails=lambda _: 0)
    by_kind: dict[Any, set[frozenset[str]]] = {}
    jointly: set[str] = set()
    while world.running:
        ((suggestion, _),) = world.running.values()
        own = frozenset(suggestion.params) - {"learning_rate", "epochs", "kind"}
        by_kind.setdefault(suggestion.params["kind"], set()).add(own)
        if "dropout" in own:
            assert suggestion.configuration.model.dropout == suggestion.params["dropout"]  # type: ignore[attr-defined]
        jointly |= set(world.of("mixed").running[suggestion.number].relative_params)
        while suggestion.trial_id in world.running:
            world.advance(suggestion.trial_id)
    assert by_kind[None] == {frozenset()}
    assert by_kind["dropout"] == {frozenset({"dropout"})}
    assert by_kind["smoothing"] <= {frozenset({"amount"}), frozenset({"amount", "decay"})}
    assert {"learning_rate", "kind", "dropout", "amount"} <= jointly, "branches are part of the multivariate model"


def test_the_sampler_learns() -> None:
    """After 12 random draws, 24 suggestions lie much nearer to the optimum than 24 random draws would."""
    study = replace(STUDY, arms=(SVAE,), budget=Budget(trials=36, audit=12, grace=8, reduction=3))

    def distance(params: dict[str, Any]) -> float:
        return abs(math.log10(params["learning_rate"]) + 2.5) + abs(math.log10(params["beta"]) + 2)

    found = [distance(p) for p in World(study, fails=lambda _: 0).run().params("svae")]
    assert sum(found[12:]) / 24 < 0.7 * sum(found[:12]) / 12


def test_a_search_does_not_depend_on_the_process() -> None:
    """Another process hashes strings in another order; a resumed study must not notice."""
    program = (
        "import runpy, sys, json; w = runpy.run_path(sys.argv[1])['World']();"
        "print(json.dumps(w.run().transcript(), sort_keys=True))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program, __file__],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(elsewhere.stdout) == json.loads(json.dumps(World().run().transcript()))


def test_an_invalid_space_is_the_users_error_and_names_the_arm() -> None:
    broken = Arm(name="broken", summary="", space=lambda trial: {"model.bta": trial.suggest_float("b", 0, 1)})
    with pytest.raises(ValueError, match=r"arm 'broken'.*model\.bta"):
        Search(replace(STUDY, arms=(broken,)), 0, 1).next()
