"""Groups in training: a plain loop's numbers, the same in any company, stopped, resumed or diverging."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vaetune.bottlenecks import CATALOGUE
from vaetune.datasets.batches import Resident
from vaetune.models.base import Model, initialise
from vaetune.models.configs import Convolutions
from vaetune.noise import Noise
from vaetune.seeding import derive
from vaetune.training import members as stacked
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member

HUGE = 1e30


def plain(pool: Any, member: Member) -> tuple[dict[str, Tensor], list[dict[str, float]], int | None]:
    """Weights, training means an epoch, and the first step whose loss is not finite, of a loop with torch.optim."""
    t, split = member.configuration.training, pool.split(member)
    fresh = member.configuration.model.build(pool.shape, pool.classes)
    initialise(fresh, member.seeds.initial)
    model: Model = stacked.stack([fresh])
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": t.weight_decay}, {"params": biases, "weight_decay": 0.0}],
        betas=(t.beta1, t.beta2),
        fused=True,
    )
    average = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    history: list[dict[str, float]] = []
    step = 0
    for epoch in range(t.epochs):
        order = torch.Generator().manual_seed(derive(f"{member.seeds.order}/{epoch}"))
        noise = Noise([torch.Generator().manual_seed(derive(f"{member.seeds.noise}/{epoch}"))])
        for part in optimizer.param_groups:
            part["lr"] = t.learning_rate * t.learning_rate_decay ** (epoch // t.decay_every)
        warm = min(1.0, (epoch + 1) / t.penalty_warmup) if t.penalty_warmup else 1.0
        sums: dict[str, float] = {}
        for batch in torch.randperm(pool.n, generator=order).split(t.batch_size):
            x = pool.images[split.train[batch]].float() * (1 / 255)
            terms = model.terms(x[None], split.targets[batch][None], noise, warm)
            loss = terms["loss"].mean()
            if not loss.isfinite():
                return {}, history, step
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            for name, p in model.named_parameters():
                average[name] = t.ema * average[name] + (1 - t.ema) * p.detach()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.sum().item()
        history.append({f"train/{name}": total / pool.n for name, total in sums.items()})
    ended = {
        name: (average[name] / (1 - t.ema**step) if t.ema else p.detach())[0] for name, p in model.named_parameters()
    }
    return ended, history, None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training__learning_rate_decay": 0.5, "training__decay_every": 2, "training__epochs": 6},
        {"training__penalty_warmup": 3, "model__beta": 1.0},
        {"training__weight_decay": 0.3, "training__beta1": 0.5, "training__beta2": 0.9},
        {"training__ema": 0.9},
        {"model__dropout": 0.3, "model__bottleneck": "gaussian_dropout", "model__latent_dropout": 0.5},
        {"model__decoder": (6,), "model__reconstruction": 0.1, "model__label_smoothing": 0.1},
        {"training__batch_size": 7},  # 40 images: the last batch has 5
        {"training__batch_size": 39},  # … and here 1
        {"training__batch_size": 64},
    ],
    ids=str,
)
def test_members_have_the_numbers_of_a_plain_loop(pool: Any, changes: dict[str, Any]) -> None:
    world = pool(base=changes)
    first, second = world.member(0), world.member(1, training__learning_rate=0.003)
    trained = world.train(first, second)
    for member in (first, second):
        weights, history, _ = plain(world, member)
        ours = trained[member.id]
        for name, value in weights.items():
            if member.configuration.training.ema:
                torch.testing.assert_close(ours.weights[name], value, rtol=1e-5, atol=1e-6)
            else:
                assert torch.equal(ours.weights[name], value), name
        for row, expected in zip(ours.metrics, history, strict=True):
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_the_last_partial_batch_is_used(pool: Any) -> None:
    """With a rate too small to move a weight, an epoch's training terms are means over every image."""
    world = pool(n=10, base={"model__bottleneck": "compression", "training__learning_rate": 1e-30})
    member = world.member(0, training__batch_size=4, training__epochs=1)
    model = member.configuration.model.build(world.shape, world.classes)
    initialise(model, member.seeds.initial)
    split = world.split(member)
    terms = model.terms(world.images[split.train].float() / 255, split.targets, None)
    (row,) = world.train(member)["m0"].metrics
    for name, term in terms.items():
        assert row[f"train/{name}"] == pytest.approx(term.mean().item(), rel=1e-5)


def test_warm_up_raises_the_penalty_by_epochs(pool: Any) -> None:
    world = pool(base={"training__penalty_warmup": 4, "training__epochs": 6, "model__beta": 0.5})
    shares = [
        (row["train/loss"] - row["train/cross_entropy"]) / (0.5 * row["train/penalty"])
        for row in world.train(world.member(0))["m0"].metrics
    ]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1], rel=1e-4)


def test_averaged_weights_are_scored_and_the_live_ones_trained(pool: Any) -> None:
    world = pool(base={"training__ema": 0.95})
    member = world.member(0)
    group = world.group(member)
    live = [p.detach().clone() for p in group.model.parameters()]
    group.run_epoch()
    after = {name: p.detach().clone() for name, p in group.model.named_parameters()}
    scored = group.weights(0)
    assert not any(torch.equal(a, b) for a, b in zip(live, after.values(), strict=True))
    assert not any(torch.equal(after[name][0], scored[name]) for name in after)
    assert all(torch.equal(p, after[name]) for name, p in group.model.named_parameters())


def test_the_first_average_is_the_first_weights(pool: Any) -> None:
    """Without its correction an average of decay 0.999 would begin at a thousandth of the weights."""
    world = pool(base={"training__epochs": 1, "training__batch_size": 64})
    averaged, live = (world.train(world.member(0, training__ema=ema))["m0"] for ema in (0.999, 0.0))
    for name, value in live.weights.items():
        torch.testing.assert_close(averaged.weights[name], value, rtol=1e-4, atol=1e-7)


COMPANY = {
    1: {"training__learning_rate": 0.1},  # overfits and stops early where there is patience
    2: {"training__learning_rate": HUGE},  # diverges
    5: {"training__learning_rate": 1.0},
}


@pytest.mark.usefixtures("both_routes")
@given(data=st.data())
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_a_member_has_the_same_bits_in_any_company(pool: Any, data: st.DataObject) -> None:
    draw = data.draw
    size = draw(st.integers(1, 40), "batch size")
    n = draw(st.integers(2, 60), "images")
    decoder = draw(st.sampled_from([None, (7,)]), "decoder")
    changes = {
        "model__bottleneck": draw(st.sampled_from(list(CATALOGUE)), "bottleneck"),
        "model__trunk": draw(st.lists(st.integers(1, 40), max_size=2).map(tuple), "trunk"),
        "model__latents": draw(st.integers(1, 20), "latents"),
        "model__dropout": draw(st.sampled_from([0.0, 0.3]), "dropout"),
        "model__latent_dropout": 0.3,
        "model__label_smoothing": draw(st.sampled_from([0.0, 0.1]), "smoothing"),
        "model__decoder": decoder,
        "model__reconstruction": 0.01 if decoder else 0.0,
        "training__batch_size": size,
        "training__epochs": max(1, min(12, 60 // math.ceil(n / size))),
        "training__ema": draw(st.sampled_from([0.0, 0.9]), "average"),
        "training__weight_decay": draw(st.sampled_from([0.0, 0.1]), "decay"),
        "training__patience": draw(st.sampled_from([0, 1]), "patience"),
    }
    shape = tuple(draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)), "shape"))
    world = pool(n=n, shape=shape, classes=draw(st.integers(2, 11), "classes"), base=changes)
    ours = world.member(0)
    others = [world.member(i, **COMPANY.get(i, {"training__learning_rate": 0.002 * i})) for i in range(1, 8)]
    alone = world.train(ours)["m0"]
    three = world.train(others[0], ours, others[1])
    eight = world.train(*others[:5], ours, *others[5:])
    assert alone.same_as(three["m0"])
    assert alone.same_as(eight["m0"])
    for other in others[:2]:
        assert three[other.id].same_as(eight[other.id])


def test_who_stops_early_or_diverges_leaves_the_others_as_they_were(pool: Any) -> None:
    world = pool(base={"training__patience": 2, "training__epochs": 12, "training__ema": 0.5})
    others = [world.member(i, **COMPANY.get(i, {})) for i in range(1, 6)]
    ours = world.member(0, training__learning_rate=0.002)
    together = world.train(*others[:3], ours, *others[3:])
    lengths = {id: len(member.rows) for id, member in together.items()}
    assert len(set(lengths.values())) > 2, lengths  # some left early, at different times
    assert together["m2"].rows[-1].outcome == "failed"
    assert together["m0"].same_as(world.train(ours)["m0"])


@pytest.mark.parametrize(("rate", "epoch"), [(HUGE, 1), (1.0, 3)])
def test_divergence_ends_its_member_and_names_the_step(pool: Any, rate: float, epoch: int) -> None:
    world = pool(
        base={
            "training__epochs": 3,
            "training__batch_size": 8,
            "training__learning_rate": 1e-26,
            "training__learning_rate_decay": 1e12,
        }
    )
    bad = world.member(1, training__learning_rate=rate)
    _, _, step = plain(world, bad)
    assert step is not None
    assert step // 5 + 1 == epoch
    together = world.train(world.member(0), bad, world.member(2))
    last = together["m1"].rows[-1]
    assert last.outcome == "failed"
    assert last.reason == f"diverged: loss not finite at step {step} (epoch {epoch})"
    assert last.epoch == epoch
    assert together["m1"].weights == {}
    for number in (0, 2):
        assert together[f"m{number}"].rows[-1].outcome == "finished"
        assert together[f"m{number}"].same_as(world.train(world.member(number))[f"m{number}"])


def test_an_infinite_weight_ends_its_member_at_the_next_step(pool: Any) -> None:
    world = pool(base={"training__epochs": 4})
    group = world.group(world.member(0), world.member(1))
    group.run_epoch()
    with torch.no_grad():
        group.model.classifier.bias[1, 0] = math.inf
    rows = group.run_epoch()
    assert [row.outcome for row in rows] == ["", "failed"]
    assert rows[1].reason == "diverged: loss not finite at step 3 (epoch 2)"
    assert [member.id for member in group.members] == ["m0"]


def test_what_the_last_step_breaks_is_seen_in_the_scores(pool: Any) -> None:
    world = pool(base={"training__batch_size": 64, "training__epochs": 1, "training__learning_rate": 1e38})
    (row,) = world.train(world.member(0))["m0"].rows
    assert (row.outcome, row.reason) == ("failed", "diverged: scores not finite after epoch 1")


def overfitting(pool: Any, **changes: Any) -> Any:
    return pool(
        n=12,
        held_out=60,
        base={
            "model__bottleneck": "deterministic",
            "training__epochs": 60,
            "training__batch_size": 4,
            "training__learning_rate": 0.03,
            **changes,
        },
    )


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_patience_keeps_the_best_weights_and_reports_them(pool: Any, ema: float) -> None:
    world = overfitting(pool, training__ema=ema)
    full = world.train(world.member(0))["m0"]
    losses = [row["val/nll"] for row in full.metrics]
    stopped = world.train(world.member(0, training__patience=3))["m0"]
    running = [min(losses[: i + 1]) for i in range(len(losses))]
    end = next(i for i in range(len(losses)) if i >= 3 and running[i] == running[i - 3])
    best = losses.index(running[end])
    assert [row["val/nll"] for row in stopped.metrics] == running[: end + 1]  # the score is that of the weights kept
    assert stopped.rows[-1].outcome == "finished"
    assert stopped.rows[-1].reason.endswith(f"since epoch {best + 1}")
    assert stopped.metrics[-1]["best/epoch"] == best + 1
    assert stopped.metrics[-1]["val/error"] == full.metrics[best]["val/error"]
    assert stopped.metrics[-1]["train/loss"] == full.metrics[end]["train/loss"]
    short = world.train(world.member(0, training__epochs=best + 1))["m0"]
    assert all(torch.equal(stopped.weights[name], value) for name, value in short.weights.items())


def test_patience_that_never_runs_out_still_keeps_the_best(pool: Any) -> None:
    world = overfitting(pool)
    full = world.train(world.member(0))["m0"]
    losses = [row["val/nll"] for row in full.metrics]
    best = losses.index(min(losses))
    assert best < 50
    patient = world.train(world.member(0, training__patience=1000))["m0"]
    assert (len(patient.rows), patient.rows[-1].reason) == (60, "")
    assert patient.metrics[-1]["val/nll"] == losses[best]
    short = world.train(world.member(0, training__epochs=best + 1))["m0"]
    assert all(torch.equal(patient.weights[name], value) for name, value in short.weights.items())


def saved(group: Group, r: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A member's state after a trip through a file."""
    numbers, tensors = group.state(r)
    return json.loads(json.dumps(numbers, allow_nan=False)), {name: value.clone() for name, value in tensors.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training__ema": 0.9},
        {"training__patience": 4},
        {"training__patience": 4, "training__ema": 0.9},
        {"training__penalty_warmup": 5, "training__learning_rate_decay": 0.7, "training__weight_decay": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_member_goes_on_bit_for_bit(
    pool: Any, finish: Callable[[Group], Any], changes: dict[str, Any], stop: int
) -> None:
    world = pool(base={"training__epochs": 8, "training__learning_rate": 0.03, **changes})
    members = [world.member(i) for i in range(3)]
    whole = finish(world.group(*members))
    group = world.group(*members)
    for _ in range(stop):
        group.run_epoch()
    left = [saved(group, r) for r in range(3)]
    for _ in range(8 - stop):  # what was saved is no view of what trains on
        if group.members:
            group.run_epoch()
    resumed = world.group(members[2], members[0])
    resumed.load([left[2], left[0]])
    assert resumed.epoch == stop
    again = finish(resumed)
    for id in ("m0", "m2"):
        assert repr(again[id].rows) == repr(whole[id].rows[stop:])
        assert all(torch.equal(again[id].weights[name], value) for name, value in whole[id].weights.items())


def test_members_resume_at_one_epoch(pool: Any) -> None:
    world = pool()
    group = world.group(world.member(0), world.member(1))
    group.run_epoch()
    early = saved(group, 0)
    group.run_epoch()
    late = saved(group, 1)
    with pytest.raises(ValueError, match="resume at one epoch"):
        world.group(world.member(0), world.member(1)).load([early, late])


def test_members_of_another_architecture_are_refused(pool: Any) -> None:
    world = pool()
    with pytest.raises(ValueError, match="share their architecture"):
        world.group(world.member(0), world.member(1, model__latents=6))


def test_labels_with_noise_are_learned_and_clean_ones_scored(pool: Any) -> None:
    world = pool(base={"training__epochs": 1, "training__learning_rate": 1e-30, "model__bottleneck": "deterministic"})
    member = world.member(0)
    split = world.split(member)
    wrong = Split(split.train, (split.targets + 1) % world.classes, split.validation)
    images, labels = world.images, world.labels
    group = Group([member], [wrong], Resident(images), labels, world.classes)
    (row,) = group.run_epoch()
    model = member.configuration.model.build(world.shape, world.classes)
    model.load_state_dict(group.ended["m0"])

    def nll(index: Tensor, y: Tensor) -> float:
        return torch.nn.functional.cross_entropy(model.predict(images[index].float() / 255), y).item()

    assert row.metrics["train/cross_entropy"] == pytest.approx(nll(split.train, wrong.targets), rel=1e-5)
    assert row.metrics["val/nll"] == pytest.approx(nll(split.validation, labels[split.validation]), rel=1e-5)


def test_validation_is_optional(pool: Any) -> None:
    world = pool(held_out=0)
    trained = world.train(world.member(0))["m0"]
    assert trained.rows[-1].outcome == "finished"
    assert trained.weights
    assert not any(name.startswith("val/") for name in trained.metrics[-1])


def test_epochs_and_members_draw_differently(pool: Any) -> None:
    world = pool(base={"training__learning_rate": 1e-30, "training__epochs": 2})
    first, second = (world.train(world.member(0), world.member(1))[id].metrics for id in ("m0", "m1"))
    losses = [row["train/loss"] for row in (*first, *second)]
    assert len(set(losses)) == 4  # nothing is learned: only noise and order change


def test_running_averages_are_kept_checkpointed_and_scored(pool) -> None:
    stack = Convolutions(
        channels=(4,), kernels=(2,), strides=(2,), paddings=(0,), normalisation="live", statistics_kept=0.5
    )
    world = pool(base={"model.convolutions": stack, "training.epochs": 3})
    whole = world.group(world.member(1), world.member(2))
    whole.run_epoch()
    halves = [whole.state(r) for r in range(2)]
    rest = [row.metrics for _ in range(2) for row in whole.run_epoch()]
    resumed = world.group(world.member(1), world.member(2))
    resumed.load(halves)
    assert [row.metrics for _ in range(2) for row in resumed.run_epoch()] == rest
    weights = whole.ended["m1"]
    assert weights["convolutions.norms.0.mean"].abs().max() > 0
    model = whole_model(world, weights)
    images = world.images[world.split(world.member(1)).validation].float() / 255
    labels = world.labels[world.split(world.member(1)).validation]
    with torch.no_grad():
        error = (model.predict(images).argmax(-1) != labels).float().mean()
    assert rest[-2]["val/error"] == pytest.approx(error.item())


def whole_model(world, weights):
    model = world.member(1).configuration.model.build(world.shape, world.classes)
    model.load_state_dict(weights)
    return model
