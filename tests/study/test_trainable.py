"""The worker without Ray: its class is driven as Tune drives the actor, and thrown away where a worker would die."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from vaetune import checkpoints
from vaetune.config import Configuration, to_json
from vaetune.models.supervised_vae import SupervisedVAE
from vaetune.storage import Storage
from vaetune.study import Arm, DatasetConfig, Replication, Study, SupervisedVAEConfig, TrainingConfig, members
from vaetune.study import trainable as module
from vaetune.study.members import GroupSpec
from vaetune.study.pool import Pool
from vaetune.study.trainable import GroupTrainable
from vaetune.study.versions import versions
from vaetune.training import routes
from vaetune.training.seeds import Member

ARM = Arm(name="svae", summary="")
STUDY = Study(name="s", hypothesis="h", arms=(ARM,), replication=Replication(n=3))
PLAIN = Configuration(
    model=SupervisedVAEConfig(trunk=(8,), latents=4, bottleneck="gaussian", beta=1e-2, dropout=0.2),
    training=TrainingConfig(epochs=5, batch_size=16, learning_rate=1e-2, ema=0.9, weight_decay=0.01),
    dataset=DatasetConfig(n_validation=24, label_noise=0.1),
)
LABELS = np.arange(96) % 3
IMAGES = np.random.default_rng(0).integers(0, 255, (96, 1, 4, 4), dtype=np.uint8)
IMAGES[np.arange(96), 0, 0, LABELS] = 255  # something to learn
for shared in (IMAGES, LABELS):
    shared.setflags(write=False)  # as in Ray's object store


class Exploding(SupervisedVAE):
    """Raises at the 12th batch, which is in the third epoch."""

    batches: ClassVar[int] = 0

    def terms(self, *arguments: Any, **named: Any) -> dict[str, Tensor]:
        Exploding.batches += 1
        if Exploding.batches == 12:
            raise ArithmeticError("no twelfth batch")
        return super().terms(*arguments, **named)


@dataclass(frozen=True, kw_only=True)
class ExplodingConfig(SupervisedVAEConfig):
    kind: ClassVar[str] = "exploding"

    def build(self, shape: tuple[int, ...], classes: int) -> Exploding:
        return Exploding(self, shape, classes)


@pytest.fixture(scope="module", autouse=True)
def _own_routes() -> Iterator[None]:
    """The worker chooses how its process multiplies; the other tests of this process keep their way."""
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    routes.configure.cache_clear()
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.set_num_threads(before[1])
    routes.configure.cache_clear()


class Dog:
    """Stands for the watchdog: remembers what it hears."""

    heard: ClassVar[list[str]] = []

    def __init__(self, limit: float) -> None:
        assert limit == 60.0

    def beat(self) -> None:
        self.heard.append("beat")

    def rest(self) -> None:
        self.heard.append("rest")


@pytest.fixture(autouse=True)
def _report_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_EVERY", 0.0)
    monkeypatch.setattr(module, "Watchdog", Dog)
    Dog.heard.clear()
    monkeypatch.setattr("vaetune.storage.os.fsync", lambda handle: None)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def group(phase: str = "replicate", *configurations: Configuration, rungs: tuple[int, ...] = ()) -> GroupSpec:
    """A group of two members, or one for each configuration."""
    found = members.replicates(STUDY, 0, ARM, [PLAIN])
    wanted = configurations or (PLAIN, PLAIN)
    chosen = tuple(replace(m, configuration=c) for m, c in zip(found, wanted, strict=False))
    return GroupSpec(chosen[0].id, phase, chosen, rungs)


def actor(spec: GroupSpec, storage: Storage, refit: bool = False, driver: Any = None) -> GroupTrainable:
    """A fresh worker that has been given the group."""
    made = GroupTrainable.__new__(GroupTrainable)
    pool = Pool(IMAGES, LABELS)
    options = {"refit": refit, "stall": 60.0, "driver": driver, "most": 4}
    made.setup({"spec": spec}, pool=pool, classes=3, storage=storage, **options)
    return made


@dataclass
class Told:
    """What the driver has heard of each member; it insists that what it hears again is the same."""

    epochs: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    outcomes: dict[str, tuple[str, str]] = field(default_factory=dict)

    def hear(self, worker: GroupTrainable, steps: int = 10**6) -> Told:
        """Listens for so many results, or until the worker has ended."""
        for _ in range(steps):
            for row in worker.step()["rows"]:
                known = self.epochs.setdefault(row["id"], {})
                for epoch in row["epochs"]:
                    assert known.setdefault(epoch["epoch"], epoch["metrics"]) == epoch["metrics"]
                if row["outcome"]:
                    end = row["outcome"], row["reason"]
                    assert self.outcomes.setdefault(row["id"], end) == end
            if not worker.groups:
                break
        return self


def weights(storage: Storage, spec: GroupSpec) -> dict[str, dict[str, Tensor]]:
    """The final weights of every member that has some."""
    ids = [m.id for m in spec.members if checkpoints.finished(storage, m.id)]
    return {id: checkpoints.load(storage, id).weights for id in ids}


def identical(a: dict[str, dict[str, Tensor]], b: dict[str, dict[str, Tensor]]) -> bool:
    """Bit for bit."""
    return a.keys() == b.keys() and all(
        a[id].keys() == b[id].keys() and all(torch.equal(a[id][name], b[id][name]) for name in a[id]) for id in a
    )


def alone(spec: GroupSpec, folder: Path) -> tuple[Told, dict[str, dict[str, Tensor]]]:
    """An undisturbed course of training."""
    storage = Storage(folder)
    told = Told().hear(actor(spec, storage))
    return told, weights(storage, spec)


def test_an_undisturbed_group_tells_every_epoch_and_leaves_checkpoints(storage: Storage) -> None:
    spec = group()
    worker = actor(spec, storage)
    results = [worker.step() for _ in range(5)]
    assert not worker.groups
    for number, result in enumerate(results, 1):
        assert result["device"] == worker.device
        assert [row["id"] for row in result["rows"]] == [m.id for m in spec.members]
        for row in result["rows"]:
            (epoch,) = row["epochs"]
            assert epoch["epoch"] == number
            assert {"train/loss", "val/error", "val/nll", "val/nll_scaled"} <= epoch["metrics"].keys()
            assert (row["outcome"], row["reason"]) == ("finished" if number == 5 else "", "")
    assert worker.step()["rows"] == [], "an end is told once"
    times = [row["epochs"][0]["time"] for result in results for row in result["rows"][:1]]
    assert times == sorted(times)
    for member in spec.members:
        kept = checkpoints.load(storage, member.id)
        assert kept.config["configuration"] == to_json(PLAIN)
        assert (kept.config["epoch"], kept.config["outcome"], kept.config["phase"]) == (5, "finished", "replicate")
        assert (kept.config["shape"], kept.config["classes"], kept.config["arm"]) == ([1, 4, 4], 3, "svae")
        assert len(kept.config["history"]) == 5
        assert kept.config["seconds"] > 0
        PLAIN.model.build((1, 4, 4), 3).load_state_dict(kept.weights)
        assert not storage.list(f"checkpoints/{member.id}/partial")


def test_a_result_is_due_at_rungs_and_at_the_end(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_EVERY", 1e9)
    worker = actor(group(rungs=(2, 4)), storage)
    told = [[[e["epoch"] for e in row["epochs"]] for row in worker.step()["rows"]] for _ in range(3)]
    assert told == [[[1, 2]] * 2, [[3, 4]] * 2, [[5]] * 2]


def test_a_result_is_due_after_some_time(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0.0, 1e3, 0.4))
    monkeypatch.setattr("vaetune.study.trainable.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(module, "REPORT_EVERY", 1.0)
    worker = actor(group(), storage)
    lengths = [len(worker.step()["rows"][0]["epochs"]) for _ in range(2)]
    assert lengths == [3, 2]


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "unsaved"])
@pytest.mark.parametrize("died_after", [0, 1, 3, 4, 5])
def test_a_worker_that_is_replaced_tells_the_same_again_and_ends_with_the_same_weights(
    died_after: int, saved: bool, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = group()
    expected, final = alone(spec, tmp_path / "alone")
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0 if saved else 1e9)
    told = Told().hear(actor(spec, storage), died_after)
    successor = actor(spec, storage)
    assert all(
        len(history) == (died_after if saved or died_after == 5 else 0) for history in successor.history.values()
    )
    again = Told().hear(successor)
    assert again == expected, "the successor tells everything, from the first epoch on"
    told.hear(actor(spec, storage))
    assert told == expected
    assert identical(weights(storage, spec), final)


def test_members_that_are_found_at_different_epochs_end_with_the_same_weights(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was saved after epoch 3, one after epoch 1, one never."""
    spec = group("replicate", PLAIN, PLAIN, PLAIN)
    expected, final = alone(spec, tmp_path / "alone")
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0)
    first, second, third = (m.id for m in spec.members)
    Told().hear(actor(spec, storage), 1)
    storage.delete(f"checkpoints/{third}")
    Told().hear(actor(GroupSpec("first", "replicate", spec.members[:1]), storage), 2)
    successor = actor(spec, storage)
    assert [len(successor.history[id]) for id in (first, second, third)] == [3, 1, 0]
    assert [g.epoch for g in successor.groups] == [3, 1, 0]
    assert Told().hear(successor) == expected
    assert identical(weights(storage, spec), final)


def stopping_early(rate: float) -> Configuration:
    training = replace(PLAIN.training, epochs=30, patience=2, learning_rate=rate, ema=0.0, weight_decay=0.0)
    return replace(PLAIN, training=training)


def test_a_member_that_has_ended_before_the_others_is_not_trained_again(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stop early at epochs of their own; the worker dies in between, after one final checkpoint."""
    spec = group("replicate", stopping_early(0.5), stopping_early(1e-3))
    expected, final = alone(spec, tmp_path / "alone")
    quick, slow = (len(expected.epochs[m.id]) for m in spec.members)
    assert quick < slow - 1
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0)
    told = Told().hear(actor(spec, storage), quick + 1)
    assert list(told.outcomes) == [spec.members[0].id]
    successor = actor(spec, storage)
    assert [[m.id for m in g.members] for g in successor.groups] == [[spec.members[1].id]]
    assert Told().hear(successor) == expected
    assert identical(weights(storage, spec), final)


def test_members_trained_together_are_what_they_are_alone(storage: Storage, tmp_path: Path) -> None:
    spec = group()
    Told().hear(actor(spec, storage))
    apart: dict[str, dict[str, Tensor]] = {}
    for member in spec.members:
        apart |= alone(GroupSpec(member.id, "replicate", (member,)), tmp_path / member.id)[1]
    assert identical(weights(storage, spec), apart)


def test_a_reused_actor_starts_from_nothing(storage: Storage, tmp_path: Path) -> None:
    spec = group()
    expected, final = alone(spec, tmp_path / "alone")
    worker = actor(group("select", replace(PLAIN, training=replace(PLAIN.training, epochs=9))), storage)
    worker.step()
    assert worker.reset_config({"spec": spec})
    assert Told().hear(worker) == expected
    assert identical(weights(storage, spec), final)


def test_a_model_that_raises_fails_its_group_with_the_traceback(storage: Storage) -> None:
    Exploding.batches = 0
    model = ExplodingConfig(trunk=(8,), latents=4)
    spec = group("replicate", replace(PLAIN, model=model), replace(PLAIN, model=model))
    worker = actor(spec, storage)
    told = Told().hear(worker)
    for member in spec.members:
        outcome, reason = told.outcomes[member.id]
        assert outcome == "failed"
        assert reason.startswith("Traceback")
        assert reason.rstrip().endswith("ArithmeticError: no twelfth batch")
        assert list(told.epochs[member.id]) == [1, 2], "the epochs before are kept"
    assert not weights(storage, spec)
    assert worker.reset_config({"spec": group()})
    assert {outcome for outcome, _ in Told().hear(worker).outcomes.values()} == {"finished"}


def test_a_model_that_cannot_be_built_fails_its_group(storage: Storage) -> None:
    odd = replace(PLAIN, model=replace(PLAIN.model, reconstruction=1.0))  # type: ignore[call-arg]
    spec = group("search", odd)
    (row,) = actor(spec, storage).step()["rows"]
    assert (row["outcome"], row["epochs"]) == ("failed", [])
    assert "UserError: model.reconstruction needs model.decoder" in row["reason"]


def test_a_group_that_cannot_be_recovered_fails_whole(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is trained who is told to have failed, and no checkpoint says otherwise."""
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0)
    spec = group()
    Told().hear(actor(GroupSpec("first", "replicate", spec.members[:1]), storage), 2)
    usual = GroupTrainable._split

    def broken(self: GroupTrainable, member: Member) -> Any:
        if member is spec.members[1]:
            raise OSError("no such image")
        return usual(self, member)

    monkeypatch.setattr(GroupTrainable, "_split", broken)
    told = Told().hear(actor(spec, storage))
    assert {id: outcome for id, (outcome, _) in told.outcomes.items()} == {m.id: "failed" for m in spec.members}
    assert all(reason.rstrip().endswith("OSError: no such image") for _, reason in told.outcomes.values())
    assert not weights(storage, spec)


def test_the_watchdog_hears_of_every_epoch_and_of_the_end_of_work(storage: Storage) -> None:
    worker = actor(group(), storage)
    assert Dog.heard == ["beat", "rest"], "building counts"
    for _ in range(2):
        worker.step()
    assert Dog.heard == ["beat", "rest"] * 3


class Hungry(Exploding):
    """Runs out of memory at the 12th batch, unless it trains alone."""

    def terms(self, x: Tensor, *arguments: Any, **named: Any) -> dict[str, Tensor]:
        Exploding.batches += 1
        if Exploding.batches >= 12 and len(x) > 1:
            raise MemoryError("no room for two")
        return SupervisedVAE.terms(self, x, *arguments, **named)


@dataclass(frozen=True, kw_only=True)
class HungryConfig(SupervisedVAEConfig):
    kind: ClassVar[str] = "hungry"

    def build(self, shape: tuple[int, ...], classes: int) -> Hungry:
        return Hungry(self, shape, classes)


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "unsaved"])
def test_a_group_too_large_for_the_memory_goes_on_in_halves_with_the_same_numbers(
    saved: bool, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0 if saved else 1e9)
    hungry = replace(PLAIN, model=HungryConfig(trunk=(8,), latents=4))
    Exploding.batches = -(10**6)
    expected, final = alone(group("replicate", hungry, hungry, hungry), tmp_path / "alone")
    Exploding.batches = 0
    worker = actor(group("replicate", hungry, hungry, hungry), storage)
    assert Told().hear(worker) == expected
    assert identical(weights(storage, worker.spec), final)
    history = checkpoints.load(storage, worker.spec.id).config["history"]
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3, 4, 5]


def test_a_group_too_large_to_be_built_is_halved_too(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, final = alone(group("replicate", PLAIN, PLAIN, PLAIN), tmp_path / "alone")
    build, sizes = module.Group, list[int]()

    def narrow(members: Any, *arguments: Any) -> Any:
        sizes.append(len(members))
        if len(members) > 1:
            raise torch.OutOfMemoryError("no room to build")
        return build(members, *arguments)

    monkeypatch.setattr(module, "Group", narrow)
    worker = actor(group("replicate", PLAIN, PLAIN, PLAIN), storage)
    assert Told().hear(worker) == expected
    assert sizes == [3, 1, 2, 1, 1]
    assert identical(weights(storage, worker.spec), final)


def test_who_cannot_be_built_fails_and_no_one_else(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    build = module.Group

    def picky(members: Any, *arguments: Any) -> Any:
        if len(members) > 1 or members[0].id.endswith("1"):
            raise MemoryError("no room")
        return build(members, *arguments)

    monkeypatch.setattr(module, "Group", picky)
    told = Told().hear(actor(group(), storage))
    assert [outcome for outcome, _ in told.outcomes.values()] == ["failed", "finished"]


def test_a_member_too_large_for_the_memory_alone_has_failed(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("vaetune.study.trainable.Group.run_epoch", full)
    told = Told().hear(actor(group(), storage))
    assert {outcome for outcome, _ in told.outcomes.values()} == {"failed"}
    assert {reason.partition(";")[0] for _, reason in told.outcomes.values()} == {"out of memory: no room"}


def test_a_damaged_final_checkpoint_is_trained_again(storage: Storage, tmp_path: Path) -> None:
    spec = group()
    expected, final = alone(spec, tmp_path / "alone")
    Told().hear(actor(spec, storage))
    storage.write(f"checkpoints/{spec.id}/weights.safetensors", b"torn")
    assert Told().hear(actor(spec, storage)) == expected
    assert identical(weights(storage, spec), final)


def test_divergence_fails_only_the_member_that_diverged(storage: Storage, tmp_path: Path) -> None:
    wild = replace(PLAIN, training=replace(PLAIN.training, learning_rate=1e38))
    spec = group("replicate", wild, PLAIN)
    told = Told().hear(actor(spec, storage))
    first, second = spec.members
    assert told.outcomes[second.id] == ("finished", "")
    outcome, reason = told.outcomes[first.id]
    assert outcome == "failed"
    assert reason.startswith("diverged: ")
    assert len(told.epochs[first.id]) < 5
    undisturbed = alone(GroupSpec(second.id, "replicate", (second,)), tmp_path / "alone")[1]
    assert identical(weights(storage, spec), undisturbed)


@pytest.mark.parametrize("final", [False, True], ids=["partial", "final"])
@pytest.mark.parametrize("what", ["configuration", "seeds"])
def test_a_checkpoint_of_something_else_under_the_same_id_is_ignored(
    what: str, final: bool, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member,) = (spec := group("replicate", PLAIN)).members
    other = replace(member, seeds=replace(member.seeds, noise=1))
    if what == "configuration":
        other = replace(member, configuration=replace(PLAIN, training=replace(PLAIN.training, learning_rate=2e-2)))
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0)
    Told().hear(actor(GroupSpec(member.id, "replicate", (other,)), storage), 10 if final else 3)
    assert checkpoints.finished(storage, member.id) is final
    expected, weights_alone = alone(spec, tmp_path / "alone")
    worker = actor(spec, storage)
    assert worker.groups[0].epoch == 0
    told = Told().hear(worker, 2)
    told.hear(actor(spec, storage))
    assert told == expected
    assert identical(weights(storage, spec), weights_alone)


def test_the_last_two_partial_checkpoints_are_kept_while_a_member_trains(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0)
    spec = group()
    worker = actor(spec, storage)
    for expected in (["000001"], ["000001", "000002"], ["000002", "000003"]):
        worker.step()
        for member in spec.members:
            assert storage.list(f"checkpoints/{member.id}/partial") == expected


def test_partial_checkpoints_are_due_after_some_time(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("vaetune.study.trainable.time.monotonic", lambda: now[0])
    spec = group()
    worker = actor(spec, storage)
    kept = []
    for now[0] in (5.0, 11.0, 20.0, 22.0):
        worker.step()
        kept.append(storage.list(f"checkpoints/{spec.id}/partial"))
    assert kept == [[], ["000002"], ["000002"], ["000002", "000004"]]


@pytest.mark.parametrize("phase", ["select", "search", "replicate"])
def test_what_ends_without_weights_to_keep_leaves_nothing(
    phase: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candidates on fresh seeds are kept as scores only; who diverged has nothing worth keeping."""
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0)
    faster = replace(PLAIN.training, learning_rate_decay=1e40, decay_every=2, ema=0.0)
    diverging = group(phase, replace(PLAIN, training=faster))
    worker = actor(diverging, storage)
    worker.step()
    assert storage.list(f"checkpoints/{diverging.id}/partial") == ["000001"]
    assert Told().hear(worker).outcomes[diverging.id][0] == "failed"
    assert not storage.list("checkpoints")
    Told().hear(actor(group(phase), storage))
    assert storage.list("checkpoints") == ([] if phase == "select" else [m.id for m in group().members])


@pytest.mark.parametrize(
    ("phase", "refit", "n_train"), [("replicate", True, 96), ("replicate", False, 72), ("search", True, 72)]
)
def test_only_replicates_are_refitted_on_the_validation_images(
    phase: str, refit: bool, n_train: int, storage: Storage
) -> None:
    worker = actor(group(phase), storage, refit)
    (trained,) = worker.groups
    assert trained.train.shape == (2, n_train)
    assert trained.validation.shape == (2, 96 - n_train)
    assert not set(trained.train[0].tolist()) & set(trained.validation[0].tolist())
    changed = (trained.targets != torch.from_numpy(LABELS.copy())[trained.train]).sum(1).tolist()
    assert changed == [round(0.1 * n_train)] * 2, "label noise is in the training labels, and only there"
    (row, _) = worker.step()["rows"]
    assert ("val/error" in row["epochs"][0]["metrics"]) is (n_train == 72)


def test_a_worker_that_runs_something_else_than_the_driver_says_so_and_trains_nothing(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    worker = actor(group(), storage, driver={**versions(), "torch": "0.4"})
    told = worker.step()
    assert "(the driver: 0.4)" in told["unfit"]
    assert "ray up" in told["unfit"]
    assert (told["rows"], storage.list("checkpoints")) == ([], [])
    assert actor(group(), storage, driver=versions()).step()["unfit"] == ""


def test_members_on_several_devices_train_side_by_side_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = group()
    alone, sharded = Told(), Told()
    alone.hear(actor(spec, Storage(tmp_path / "one")))
    monkeypatch.setattr(module.devices, "mine", lambda: ["cpu", "cpu"])
    worker = actor(spec, Storage(tmp_path / "two"))
    assert [[m.id for m in g.members] for g in worker.groups] == [[m.id] for m in spec.members]
    sharded.hear(worker)
    assert (sharded.epochs, sharded.outcomes) == (alone.epochs, alone.outcomes)
    one, two = (weights(Storage(tmp_path / place), spec) for place in ("one", "two"))
    assert {id: {*found} for id, found in one.items()} == {id: {*found} for id, found in two.items()}
    assert all(torch.equal(value, two[id][name]) for id, found in one.items() for name, value in found.items())
