"""SELECT: from the ledger to one configuration per arm and search. Pure; it sees validation scores and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from vaetune.errors import UserError
from vaetune.study import Objective, Study


@dataclass(frozen=True)
class Candidate:
    """One configuration of an arm, by its trial in search."""

    trial_id: str
    arm: str
    search: int
    config: str


def candidates(ledger: pd.DataFrame, study: Study) -> list[Candidate]:
    """The `top_k` finished trials of every arm and search, best first; raises `UserError` for an arm without any."""
    out: list[Candidate] = []
    for search in range(study.budget.searches):
        for arm in study.arms:
            mine = ledger[(ledger["phase"] == "search") & (ledger["arm"] == arm.name) & (ledger["search"] == search)]
            finished = _best_first(mine[mine["outcome"] == "finished"].groupby("trial_id").last(), study)
            if finished.empty:
                reasons = "; ".join(sorted({r.strip().splitlines()[-1] for r in mine["reason"] if r.strip()}))
                raise UserError(
                    f"arm {arm.name!r}: none of its {len(mine)} trials finished ({reasons or 'all were stopped'}); "
                    "mend the arm or its space, or leave it out with --set arms=…"
                )
            top = finished.head(study.budget.top_k)
            out += [Candidate(str(id), arm.name, search, str(row["config"])) for id, row in top.iterrows()]
    return out


def chosen(ledger: pd.DataFrame, study: Study) -> dict[tuple[str, int], Candidate]:
    """For every arm and search the candidate that is best in the mean over its fresh seeds; both folds weigh the same.

    A fresh seed that failed is worse than any score, so candidates are ranked by their failures first.
    """
    out: dict[tuple[str, int], Candidate] = {}
    selected = ledger[ledger["phase"] == "select"]
    scores = selected.assign(failures=selected["outcome"] == "failed")
    by_fold = scores.groupby(["arm", "search", "number", "slice"])[["failures", "objective", "tie"]].mean()
    # Rounded: as many errors are a tie, however their shares add up in floating point.
    means = by_fold.groupby(["arm", "search", "number"]).mean().round(12)
    ranked: dict[tuple[str, int], list[Candidate]] = {}
    for candidate in candidates(ledger, study):
        ranked.setdefault((candidate.arm, candidate.search), []).append(candidate)
    for key, mine in ranked.items():
        best = _best_first(means.loc[key], study, "failures").index[0]
        out[key] = mine[int(best)]
    return out


def best_replicate(finished: pd.DataFrame, objective: Objective) -> str:
    """The replicate that is best on validation; the first where replicates were fitted on validation images too.

    `finished` are rows of the table replicates, of one arm.
    """
    column = finished.get(objective.metric)
    if column is None or column.isna().all():
        return str(finished.sort_values("replicate")["replicate_id"].iloc[0])
    by = [objective.metric] + ([objective.tie] if objective.tie in finished else [])
    ascending = [objective.direction == "minimize"] + [True] * (len(by) - 1)
    return str(finished.sort_values(by, ascending=ascending)["replicate_id"].iloc[0])


def _best_first(frame: pd.DataFrame, study: Study, *before: str) -> pd.DataFrame:
    """Sorted by the columns `before` (less is better), then objective, then tie; what is equal stays as it was."""
    ascending = study.objective.direction == "minimize"
    by = dict.fromkeys(before, True) | {"objective": ascending, "tie": True}
    return frame.sort_values(list(by), ascending=list(by.values()), kind="stable")
