"""SELECT: from the ledger to one configuration per arm and search. Pure; it sees validation scores and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from vaetune.errors import UserError
from vaetune.study import Study


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
    """For every arm and search the candidate that is best in the mean over its fresh seeds.

    A fresh seed that failed counts as the worst score there is; with one candidate nothing had to be re-seeded.
    """
    out: dict[tuple[str, int], Candidate] = {}
    selected = ledger[ledger["phase"] == "select"]
    worst = {"objective": selected["objective"].max(), "tie": selected["tie"].max()}
    if study.objective.direction == "maximize":
        worst["objective"] = selected["objective"].min()
    means = selected.fillna(worst).groupby(["arm", "search", "number"])[["objective", "tie"]].mean()
    ranked: dict[tuple[str, int], list[Candidate]] = {}
    for candidate in candidates(ledger, study):
        ranked.setdefault((candidate.arm, candidate.search), []).append(candidate)
    for key, mine in ranked.items():
        if len(mine) > 1 or study.budget.reseeds:
            best = _best_first(means.loc[key], study).index[0]
            out[key] = mine[int(best)]
        else:
            out[key] = mine[0]
    return out


def _best_first(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    ascending = study.objective.direction == "minimize"
    return frame.sort_values(["objective", "tie"], ascending=[ascending, True], kind="stable")
