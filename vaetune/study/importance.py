"""Which hyperparameter mattered in an arm's search, by Optuna's evaluator; stored, because reports know no Optuna."""

from __future__ import annotations

import warnings
from typing import Any

from optuna.trial import TrialState

from vaetune.study.search import Search

EVALUATOR = "PED-ANOVA (Watanabe et al. 2023)"
FEWEST = 4
"""Finished trials below which nothing is said."""


def rows(search: Search) -> list[dict[str, Any]]:
    """Rows of the importance table, of every arm and search whose trials have all ended; shares that add up to 1."""
    # Here, because it brings scikit-learn, for which no trial should have to wait.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    out = []
    for one in search.arms:
        finished = one.optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if one.waiting or one.running or len(finished) < FEWEST or not finished[0].params:
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Target and region quantiles select the same set")
            try:
                # What a conditional space draws in some trials only has no share.
                found = get_param_importances(one.optuna, evaluator=PedAnovaImportanceEvaluator())
            except UserWarning:
                continue  # all scores are equal: nothing mattered
        common = {"arm": one.arm.name, "search": one.search, "trials": len(finished), "evaluator": EVALUATOR}
        out += [common | {"parameter": name, "importance": float(share)} for name, share in found.items()]
    return out
