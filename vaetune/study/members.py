"""Who is trained: ids and seeds of search trials, re-seeded candidates and replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from vaetune.config import Configuration, digest, to_json
from vaetune.seeding import seed_for
from vaetune.study import Arm, Study
from vaetune.training.choice import Choice
from vaetune.training.seeds import Member, Seeds


@dataclass(frozen=True)
class GroupSpec:
    """What one Ray trial carries: members of one arm and architecture, and the epochs at which it must report.

    `choice` is how the study's record says that they are trained; None where it does not say yet.
    """

    id: str
    phase: str
    members: tuple[Member, ...]
    rungs: tuple[int, ...] = ()
    choice: Choice | None = None

    def __repr__(self) -> str:
        return self.id  # Tune writes the whole configuration into names and logs


def trial_id(study: Study, arm: Arm, search: int, number: int) -> str:
    """Our own id of a search trial, never Ray's."""
    return f"{arm.name}{_suffix(study, search)}-{number:04d}"


def candidate_id(study: Study, arm: Arm, search: int, rank: int, reseed: int) -> str:
    """The id of the arm's rank-th best trial on its reseed-th fresh seed."""
    return f"{arm.name}{_suffix(study, search)}-k{rank}-r{reseed}"


def replicate_id(arm: str, replicate: int) -> str:
    """The id of an arm's replicate."""
    return f"{arm}-rep{replicate:02d}"


def identity(member: Member) -> str:
    """What must be the same for a checkpoint to be this member's: configuration and seeds."""
    return digest({"configuration": to_json(member.configuration), "seeds": asdict(member.seeds)})


def search_stream(arm: Arm, search: int) -> str:
    """The purpose that separates one arm's search from every other."""
    return f"search/{arm.stream or arm.name}/{search}"


def searched(study: Study, root: int, arm: Arm, search: int, number: int, configuration: Configuration) -> Member:
    """A search trial. All trials of one search share the split, so that their scores compare."""
    stream = search_stream(arm, search)
    seeds = _seeds(study, root, stream, number)
    together = replace(seeds, **_data_seeds(study, root, arm, search))
    return Member(trial_id(study, arm, search, number), arm.name, configuration, together)


def reseeded(study: Study, root: int, arm: Arm, search: int, rank: int, configuration: Configuration) -> list[Member]:
    """A candidate on fresh seeds, the same for every candidate of its arm, on the split of its search.

    The two validation folds take turns: on the first, which the search has seen, only the seeds are new.
    """
    stream = f"select/{arm.stream or arm.name}/{search}"
    data = _data_seeds(study, root, arm, search)
    return [
        Member(
            candidate_id(study, arm, search, rank, r),
            arm.name,
            configuration,
            replace(_seeds(study, root, stream, r), **data),
            fold=r % 2,
        )
        for r in range(study.budget.reseeds)
    ]


def replicates(study: Study, root: int, arm: Arm, configurations: Sequence[Configuration]) -> list[Member]:
    """Replicate i of the i-th chosen configuration (one a search, in turn), paired across arms by its seeds."""
    stream = f"replicate/{arm.replicate_stream}"
    return [
        Member(
            replicate_id(arm.name, i), arm.name, configurations[i % len(configurations)], _seeds(study, root, stream, i)
        )
        for i in range(study.replication.n)
    ]


def _data_seeds(study: Study, root: int, arm: Arm, search: int) -> dict[str, int]:
    return {k: _seed(study, root, 0, f"{search_stream(arm, search)}/{k}") for k in ("split", "labels")}


def _suffix(study: Study, search: int) -> str:
    return f".s{search}" if study.budget.searches > 1 else ""


def _seeds(study: Study, root: int, stream: str, replicate: int) -> Seeds:
    purposes = ("split", "labels", "initial", "order", "noise")
    return Seeds(**{purpose: _seed(study, root, replicate, f"{stream}/{purpose}") for purpose in purposes})


def _seed(study: Study, root: int, replicate: int, purpose: str) -> int:
    return seed_for(root, study.name, study.dataset.name, replicate, purpose)
