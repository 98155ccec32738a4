from __future__ import annotations

import random
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune.errors import UserError
from vaetune.study import Arm, Budget, Objective, Study
from vaetune.study.select import candidates, chosen

ARMS = (Arm(name="plain", summary=""), Arm(name="svae", summary=""))
STUDY = Study(name="s", hypothesis="h", arms=ARMS, budget=Budget(trials=6, top_k=2, reseeds=2))
ONE = Study(name="s", hypothesis="h", arms=ARMS[:1], budget=STUDY.budget)


def maximizing(study: Study) -> Study:
    return Study(
        name="s", hypothesis="h", arms=study.arms, budget=study.budget, objective=Objective(direction="maximize")
    )


def trial(
    id: str, objective: float | None, tie: float | None = 0.0, outcome: str = "finished", **columns: Any
) -> dict[str, Any]:
    """A row of the ledger, as SEARCH writes it."""
    arm = id.partition("-")[0].partition(".")[0]
    row = {
        "trial_id": id,
        "arm": arm,
        "phase": "search",
        "search": 0,
        "slice": "",
        "number": 0,
        "config": f"config of {id}",
    }
    return row | {"outcome": outcome, "reason": "", "objective": objective, "tie": tie} | columns


def reseed(arm: str, rank: int, objective: float | None, tie: float | None = 0.0, **columns: Any) -> dict[str, Any]:
    """A row of the ledger, as SELECT writes it: candidate `rank` on a fresh seed."""
    outcome = "failed" if objective is None else "finished"
    return trial(f"{arm}-k{rank}", objective, tie, outcome, phase="select", number=rank, **columns)


def ledger(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows).astype({"objective": float, "tie": float})


def ids(frame: pd.DataFrame, study: Study) -> list[str]:
    return [c.trial_id for c in candidates(frame, study)]


def test_candidates_are_the_best_by_objective_and_then_by_tie() -> None:
    rows = [
        trial("plain-0", 0.3, 0.1),
        trial("plain-1", 0.2, 0.9),
        trial("plain-2", 0.2, 0.5),
        trial("plain-3", 0.4, 0.0),
        trial("svae-0", 0.1, 0.0),
    ]
    assert ids(ledger(*rows), STUDY) == ["plain-2", "plain-1", "svae-0"]
    assert ids(ledger(*rows), maximizing(ONE)) == ["plain-3", "plain-0"]
    assert candidates(ledger(*rows), ONE)[0].config == "config of plain-2"


def test_a_higher_objective_with_ties_still_prefers_the_lower_tie_breaker() -> None:
    rows = [trial("plain-0", 0.9, 0.3), trial("plain-1", 0.9, 0.2)]
    assert ids(ledger(*rows), maximizing(ONE)) == ["plain-1", "plain-0"]


@given(seed=st.integers(0, 2**32))
def test_candidates_do_not_depend_on_the_order_in_which_trials_ended(seed: int) -> None:
    rows = [trial(f"plain-{i}", round(i % 3 / 10, 1), float(i % 2)) for i in range(6)]
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert ids(ledger(*shuffled), ONE) == ids(ledger(*rows), ONE) == ["plain-0", "plain-3"]


@pytest.mark.parametrize("outcome", ["stopped", "failed"])
def test_only_what_finished_is_a_candidate(outcome: str) -> None:
    rows = [trial("plain-0", 0.0, 0.0, outcome), trial("plain-1", 0.9)]
    assert ids(ledger(*rows), ONE) == ["plain-1"]


def test_candidates_come_from_search_only() -> None:
    rows = [trial("plain-0", 0.5), reseed("plain", 0, 0.1), trial("plain-rep00", 0.1, phase="replicate")]
    assert ids(ledger(*rows), ONE) == ["plain-0"]


def test_a_row_written_twice_counts_once() -> None:
    rows = [trial("plain-0", 0.5), trial("plain-1", 0.6), trial("plain-0", 0.5)]
    assert ids(ledger(*rows), ONE) == ["plain-0", "plain-1"]


def test_every_search_of_an_arm_has_its_own_candidates() -> None:
    study = Study(name="s", hypothesis="h", arms=ARMS[:1], budget=Budget(top_k=1, searches=2))
    rows = [trial("plain.s0-0", 0.1), trial("plain.s0-1", 0.2), trial("plain.s1-0", 0.9, search=1)]
    assert [(c.trial_id, c.search) for c in candidates(ledger(*rows), study)] == [("plain.s0-0", 0), ("plain.s1-0", 1)]


def test_an_arm_of_which_nothing_finished_is_the_users_error_that_says_why() -> None:
    failure = 'Traceback (most recent call last):\n  File "model.py"\nValueError: no such layer\n'
    rows = [
        trial("plain-0", 0.1),
        trial("svae-0", None, None, "failed", reason=failure),
        trial("svae-1", None, None, "failed", reason=failure),
        trial("svae-2", None, None, "failed", reason="diverged: loss not finite at step 3 (epoch 1)"),
    ]
    with pytest.raises(UserError) as caught:
        candidates(ledger(*rows), STUDY)
    message = str(caught.value)
    assert message.startswith("arm 'svae': none of its 3 trials finished (")
    assert message.count("ValueError: no such layer") == 1
    assert "diverged: loss not finite at step 3" in message
    assert "Traceback" not in message
    assert "--set arms=" in message


def test_an_arm_without_any_row_is_the_users_error_too() -> None:
    with pytest.raises(UserError, match="arm 'svae': none of its 0 trials finished"):
        candidates(ledger(trial("plain-0", 0.1)), STUDY)


def winner(*rows: dict[str, Any], study: Study = ONE) -> str:
    return chosen(ledger(*rows), study)["plain", 0].trial_id


def two(*reseeds: dict[str, Any]) -> list[dict[str, Any]]:
    """Two candidates, of which search thought plain-0 the better, and what fresh seeds say."""
    return [trial("plain-0", 0.1), trial("plain-1", 0.2), *reseeds]


def test_the_mean_over_fresh_seeds_decides_and_not_the_score_in_search() -> None:
    rows = two(reseed("plain", 0, 0.5), reseed("plain", 0, 0.1), reseed("plain", 1, 0.25), reseed("plain", 1, 0.3))
    assert winner(*rows) == "plain-1"
    assert winner(*[row | ({"objective": -row["objective"]}) for row in rows], study=maximizing(ONE)) == "plain-1"


def test_both_folds_weigh_the_same_however_many_seeds_they_had() -> None:
    """Over all seeds plain-0 is better (0.2 against 0.23), over folds plain-1 is (0.25 against 0.23)."""
    first = [reseed("plain", 0, value, slice=fold) for value, fold in ((0.1, "fold0"), (0.1, "fold0"), (0.4, "fold1"))]
    second = [reseed("plain", 1, 0.23, slice=fold) for fold in ("fold0", "fold0", "fold1")]
    assert winner(*two(*first, *second)) == "plain-1"


def test_equal_means_go_to_the_tie_breaker_and_then_to_the_better_in_search() -> None:
    equal = [reseed("plain", 0, 0.3, 0.5), reseed("plain", 1, 0.3, 0.4)]
    assert winner(*two(*equal)) == "plain-1"
    assert winner(*two(*[row | {"tie": 0.4} for row in equal])) == "plain-0"


def test_as_many_errors_are_a_tie() -> None:
    """414 errors among three times 1,000 images, either way; in floating point the means differ in the last digit."""
    rows = [reseed("plain", 0, errors / 1000, 0.5) for errors in (134, 244, 36)]
    rows += [reseed("plain", 1, errors / 1000, 0.4) for errors in (140, 256, 18)]
    assert winner(*two(*rows)) == "plain-1"


@pytest.mark.parametrize("study", [ONE, maximizing(ONE)], ids=["minimize", "maximize"])
def test_a_failed_fresh_seed_counts_as_the_worst(study: Study) -> None:
    """Also where its other seeds are far better than anything seen: replicates would fail as often."""
    sign = 1 if study is ONE else -1
    rows = two(
        reseed("plain", 0, 0.01 * sign),
        reseed("plain", 0, None, None),
        reseed("plain", 1, 0.4 * sign),
        reseed("plain", 1, 0.5 * sign),
    )
    rows = [row | {"objective": row["objective"] * sign} if row["phase"] == "search" else row for row in rows]
    assert winner(*rows, study=study) == "plain-1"


def test_among_failures_the_rarer_and_then_the_better_wins() -> None:
    rarer = [*([reseed("plain", 0, None, None)] * 2), reseed("plain", 1, None, None), reseed("plain", 1, 0.9)]
    assert winner(*two(*rarer)) == "plain-1"
    better = [reseed("plain", rank, value) for rank in (0, 1) for value in (None, 0.5 - rank / 10)]
    assert winner(*two(*better)) == "plain-1"
    assert winner(*two(*([reseed("plain", rank, None, None) for rank in (0, 1)]))) == "plain-0"


def test_every_arm_and_search_gets_its_own_winner_whatever_happens_to_the_others() -> None:
    study = Study(name="s", hypothesis="h", arms=ARMS, budget=Budget(top_k=2, reseeds=1, searches=2))
    rows = []
    for arm, winners in {"plain": (0, 1), "svae": (1, 0)}.items():
        for search, best in enumerate(winners):
            rows += [trial(f"{arm}.s{search}-{n}", 0.1 * n, search=search) for n in (0, 1)]
            rows += [reseed(arm, rank, 0.2 if rank == best else 0.3, search=search) for rank in (0, 1)]
    found = {key: c.trial_id for key, c in chosen(ledger(*rows), study).items()}
    assert found == {
        ("plain", 0): "plain.s0-0",
        ("plain", 1): "plain.s1-1",
        ("svae", 0): "svae.s0-1",
        ("svae", 1): "svae.s1-0",
    }
    alone = Study(name="s", hypothesis="h", arms=ARMS[1:], budget=study.budget)
    mine = ledger(*[row for row in rows if row["arm"] == "svae"])
    assert {key: c.trial_id for key, c in chosen(mine, alone).items()} == {
        key: id for key, id in found.items() if key[0] == "svae"
    }


def test_a_single_candidate_is_chosen() -> None:
    assert winner(trial("plain-0", 0.1), reseed("plain", 0, 0.9)) == "plain-0"
