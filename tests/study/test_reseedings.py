"""What SELECT trains, from the ledger of a search."""

from __future__ import annotations

import pandas as pd

from vaetune import config
from vaetune.config import Configuration
from vaetune.study import Arm, Budget, DatasetConfig, Study, SupervisedVAEConfig, TrainingConfig
from vaetune.study.entries import reseedings

STUDY = Study(name="s", hypothesis="h", arms=(Arm(name="one", summary=""),), budget=Budget(top_k=2, reseeds=3))


def test_candidates_take_both_folds_in_turn_and_the_ledger_will_say_which() -> None:
    rows = []
    for number, rate in enumerate((1e-3, 2e-3, 3e-3)):
        chosen = Configuration(
            model=SupervisedVAEConfig(), training=TrainingConfig(learning_rate=rate), dataset=DatasetConfig()
        )
        row = {"trial_id": f"one-{number:04d}", "arm": "one", "phase": "search", "slice": "asha", "search": 0}
        row |= {"number": number, "config": config.canonical(config.to_json(chosen)), "outcome": "finished"}
        rows.append(row | {"reason": "", "objective": 0.3 - 0.1 * number, "tie": 0.0})
    entries = reseedings(STUDY, 0, STUDY.arms[0], pd.DataFrame(rows))
    assert [(e.member.id, e.number, e.slice, e.member.fold) for e in entries] == [
        (f"one-k{rank}-r{again}", rank, f"fold{again % 2}", again % 2) for rank in (0, 1) for again in range(3)
    ]
    assert {e.phase for e in entries} == {"select"}
    assert [e.member.configuration.training.learning_rate for e in entries] == [3e-3] * 3 + [2e-3] * 3
