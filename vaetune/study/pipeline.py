"""SEARCH, SELECT and REPLICATE of all arms through one Tuner: an arm goes on to its next phase as soon as it can.

No worker waits for the slowest arm of a phase, and no actor is started twice. The order of things inside an arm is that
of the phases; nothing in an arm depends on when another arm gets where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vaetune.config import Configuration
from vaetune.study import Arm, Study
from vaetune.study.entries import replications, reseedings
from vaetune.study.members import GroupSpec
from vaetune.study.phases import QueuePhase, SearchPhase, pack
from vaetune.study.recorder import Recorder
from vaetune.study.tuning import Row
from vaetune.training.choice import Choice


class Pipeline:
    """A `tuning.Phase` of the `wanted` phases; what the recorder's ledger already holds is not done again.

    Members of SELECT and REPLICATE go in groups as the `choice` for their configuration says, of at most `most`.
    """

    def __init__(
        self,
        study: Study,
        root: int,
        wanted: Sequence[str],
        search: SearchPhase,
        recorder: Recorder,
        choice: Callable[[Configuration], Choice | None],
        most: int,
    ) -> None:
        self._study, self._root, self._recorder = study, root, recorder
        self._choice, self._most = choice, most
        self._wanted = [phase for phase in ("select", "replicate") if phase in wanted]
        self._search = search if "search" in wanted else None
        self._queue = QueuePhase([], recorder)
        self._ahead = {arm.name: list(self._wanted) for arm in study.arms}
        for arm in study.arms:
            self._advance(arm)

    @property
    def exhausted(self) -> bool:
        searched = self._search is None or self._search.exhausted
        return searched and self._queue.exhausted and not any(self._ahead.values())

    def next(self) -> GroupSpec | None:
        spec = self._search.next() if self._search and not self._search.exhausted else None
        return spec or (None if self._queue.exhausted else self._queue.next())

    def result(self, spec: GroupSpec, rows: Sequence[Row], device: str) -> bool:
        inner = self._search if self._search and spec.phase == "search" else self._queue
        goes_on = inner.result(spec, rows, device)
        if not goes_on:
            self._advance(self._study.arm(spec.members[0].arm))
        return goes_on

    def lost(self, spec: GroupSpec, reason: str) -> None:
        inner = self._search if self._search and spec.phase == "search" else self._queue
        inner.lost(spec, reason)
        self._advance(self._study.arm(spec.members[0].arm))

    def _advance(self, arm: Arm) -> None:
        """Queues the arm's next phase, and the one after if nothing of the first is left to do."""
        while phases := self._ahead[arm.name]:
            ledger = self._recorder.ledger()
            mine = ledger[ledger["arm"] == arm.name]
            if phases[0] == "select":
                if (mine["phase"] == "search").sum() < self._study.budget.trials * self._study.budget.searches:
                    return
                entries = reseedings(self._study, self._root, arm, mine)
            else:
                expected = len(reseedings(self._study, self._root, arm, mine))
                if (mine["phase"] == "select").sum() < expected:
                    return
                entries = replications(self._study, self._root, arm, mine)
            phases.pop(0)
            done = set(mine["trial_id"])
            todo = [e for e in entries if e.member.id not in done]
            self._queue.add(pack(todo, self._choice, self._most))
