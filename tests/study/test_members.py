from __future__ import annotations

from dataclasses import asdict, replace

from vaetune.config import Configuration
from vaetune.study import Arm, Budget, DatasetConfig, Replication, Study, SupervisedVAEConfig, TrainingConfig, members
from vaetune.training.seeds import Member

PLAIN, SVAE = Arm(name="plain", summary=""), Arm(name="svae", summary="")
STUDY = Study(name="s", hypothesis="h", arms=(PLAIN, SVAE), budget=Budget(reseeds=3), replication=Replication(n=5))
ANY = Configuration(model=SupervisedVAEConfig(), training=TrainingConfig(), dataset=DatasetConfig())
OTHER = replace(ANY, training=TrainingConfig(learning_rate=1e-2))


def seeds(*who: Member) -> set[int]:
    return {seed for member in who for seed in asdict(member.seeds).values()}


def trials(arm: Arm, search: int = 0, study: Study = STUDY, root: int = 0) -> list[Member]:
    return [members.searched(study, root, arm, search, number, ANY) for number in range(4)]


def test_ids() -> None:
    several = replace(STUDY, budget=Budget(searches=2))
    assert members.trial_id(STUDY, SVAE, 0, 7) == "svae-0007"
    assert members.trial_id(several, SVAE, 1, 7) == "svae.s1-0007"
    assert members.candidate_id(STUDY, SVAE, 0, 0, 1) == "svae-k0-r1"
    assert members.candidate_id(several, SVAE, 1, 2, 0) == "svae.s1-k2-r0"
    assert members.replicate_id(SVAE.name, 3) == "svae-rep03"
    assert repr(members.GroupSpec("svae-rep00", "replicate", ())) == "svae-rep00"


def test_trials_of_one_search_share_their_split_and_nothing_else() -> None:
    found = trials(PLAIN)
    assert len({m.seeds.split for m in found}) == len({m.seeds.labels for m in found}) == 1
    for stream in ("initial", "order", "noise"):
        assert len({getattr(m.seeds, stream) for m in found}) == len(found)
    assert len(seeds(*found)) == 2 + 3 * len(found), "no two streams are the same"


def test_seeds_of_search_contain_the_arm_and_the_search() -> None:
    assert not seeds(*trials(PLAIN)) & seeds(*trials(SVAE))
    assert not seeds(*trials(PLAIN, 0)) & seeds(*trials(PLAIN, 1))


def test_arms_of_one_stream_share_their_seeds_of_search() -> None:
    twin = Arm(name="twin", summary="", stream="plain")
    assert [m.seeds for m in trials(twin)] == [m.seeds for m in trials(PLAIN)]
    assert [m.id for m in trials(twin)] == [f"twin-{n:04d}" for n in range(4)]
    mine, other = (members.reseeded(STUDY, 0, arm, 0, 0, ANY) for arm in (twin, PLAIN))
    assert [m.seeds for m in mine] == [m.seeds for m in other]


def test_candidates_of_one_arm_are_re_seeded_alike() -> None:
    best, second = (members.reseeded(STUDY, 0, SVAE, 0, rank, ANY) for rank in (0, 1))
    assert [m.id for m in second] == ["svae-k1-r0", "svae-k1-r1", "svae-k1-r2"]
    assert [m.seeds for m in best] == [m.seeds for m in second]
    assert [m.fold for m in best] == [m.fold for m in second] == [0, 1, 0]
    data = {trials(SVAE)[0].seeds.split, trials(SVAE)[0].seeds.labels}
    assert len(seeds(*best)) == 2 + 3 * 3, "the split of the search; fresh in everything else"
    assert seeds(*best) & seeds(*trials(SVAE)) == data
    assert not seeds(*best) & seeds(*members.reseeded(STUDY, 0, PLAIN, 0, 0, ANY))
    assert not seeds(*best) & seeds(*members.reseeded(STUDY, 0, SVAE, 1, 0, ANY))


def test_replicates_are_paired_across_arms() -> None:
    plain, svae = (members.replicates(STUDY, 0, arm, [ANY]) for arm in (PLAIN, SVAE))
    assert [m.id for m in plain] == [f"plain-rep{i:02d}" for i in range(5)]
    assert [m.seeds for m in plain] == [m.seeds for m in svae]
    assert len(seeds(*plain)) == 5 * 5
    before = seeds(*trials(SVAE), *members.reseeded(STUDY, 0, SVAE, 0, 0, ANY))
    assert not seeds(*svae) & before, "search and selection have seen none of it"


def test_a_replicate_stream_of_its_own_unpairs_an_arm() -> None:
    other = Arm(name="other", summary="", replicate_stream="other")
    paired, apart = (members.replicates(STUDY, 0, arm, [ANY]) for arm in (PLAIN, other))
    assert not seeds(*paired) & seeds(*apart)


def test_replicates_are_spread_over_the_searches() -> None:
    found = members.replicates(STUDY, 0, SVAE, [ANY, OTHER])
    assert [m.configuration for m in found] == [ANY, OTHER, ANY, OTHER, ANY]


def test_replicate_seeds_do_not_depend_on_the_configuration_or_on_n() -> None:
    few, many = (members.replicates(replace(STUDY, replication=Replication(n=n)), 0, SVAE, [ANY]) for n in (3, 9))
    assert [m.seeds for m in few] == [m.seeds for m in many][:3]
    assert [m.seeds for m in few] == [m.seeds for m in members.replicates(STUDY, 0, SVAE, [OTHER])][:3]


def test_another_root_study_or_dataset_has_other_seeds() -> None:
    for study, root in (
        (STUDY, 1),
        (replace(STUDY, name="t"), 0),
        (replace(STUDY, dataset=DatasetConfig(name="digits")), 0),
    ):
        assert not seeds(*trials(PLAIN, study=study, root=root)) & seeds(*trials(PLAIN))
        assert not seeds(*members.replicates(study, root, PLAIN, [ANY])) & seeds(
            *members.replicates(STUDY, 0, PLAIN, [ANY])
        )
