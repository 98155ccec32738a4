"""PUBLISH: report, pictures and each arm's best replicate to MLflow, from what the phases before wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from vaetune import checkpoints
from vaetune.config import digest
from vaetune.datasets.base import Dataset
from vaetune.datasets.splits import split
from vaetune.errors import UserError
from vaetune.latents.subject import Subject
from vaetune.models.base import Model, initialise
from vaetune.models.decoding import decodes
from vaetune.report import summaries
from vaetune.report.evidence import gather
from vaetune.study import snapshots
from vaetune.study.console import Console
from vaetune.study.entries import parse
from vaetune.study.execution import Execution
from vaetune.study.members import replicate_id
from vaetune.study.options import Options
from vaetune.study.select import best_replicate
from vaetune.study.tracked import Tracked, beside, record
from vaetune.tracking import about, address, links, pictures, spool
from vaetune.tracking.card import card
from vaetune.tracking.models import Release
from vaetune.tracking.parts import parts
from vaetune.tracking.publisher import Publisher

EXAMPLES = 4
PICTURED, EXPLORED = 64, 500


def publish(options: Options, ex: Execution, dataset: Dataset, console: Console, report: Callable[[], None]) -> None:
    """Puts everything up once. A server that is away costs a line here, and `--phase publish` later.

    The report goes last: `report` waits until it is written.
    """
    try:
        _publish(options, ex, dataset, console, report)
    except UserError as error:
        if options.phase == "publish":
            raise
        console.note(f"publish: {error}; do it later with --resume {ex.run} --phase publish")


def _publish(options: Options, ex: Execution, dataset: Dataset, console: Console, report: Callable[[], None]) -> None:
    assert options.tracking_uri is not None
    replicates = ex.tables.read("replicates").drop_duplicates("replicate_id", keep="last")
    if replicates.empty:
        raise UserError(f"run {ex.run} has no measured replicates: let the phase evaluate finish first")
    _deliver(options, ex, console)
    publisher = Publisher(options.tracking_uri, ex.study.name, ex.run)
    study, (experiment_id, run_id) = record(ex), publisher.ids
    for tag, text in about(study, publisher.ids).items():
        publisher.describe(tag, text)
    by_arm = summaries.arms(gather(ex.storage)).set_index("arm")
    scores = _scores(ex, replicates)
    said: Counter[str] = Counter()
    for arm in ex.study.arms:
        finished = replicates[(replicates["arm"] == arm.name) & (replicates["outcome"] == "finished")]
        if finished.empty:
            console.note(f"publish: no replicate of {arm.name} finished, so it has no model")
            continue
        best = load(ex, best_replicate(finished, ex.study.objective), dataset)
        shown = {each["name"]: each for each in study["arms"]}[arm.name]
        found = parts(best.model, best.images[:EXAMPLES], best.labels[:EXAMPLES])
        release = Release(
            study=ex.study.name,
            arm=arm.name,
            run=ex.run,
            replicate_id=best.id,
            parts=found,
            files=best.files,
            card=card(study, shown, by_arm.loc[arm.name].to_dict(), best.id, best.parameters, list(found)),
            score=scores[arm.name],
            minimize=ex.study.objective.direction == "minimize",
            basis=_basis(study),
        )
        said[publisher.model(release)] += 1
        if replicate_id(arm.name, 0) in set(finished["replicate_id"]):
            _pictures(publisher, ex, dataset, arm.name)
    report()
    pages = [name for name in ("report.html", "explorer.html") if ex.storage.exists(f"report/{name}")]
    publisher.files({name: ex.storage.read(f"report/{name}") for name in pages}, "report")
    for what, models in said.items():
        console.note(f"published {models} model{'s' * (models > 1)}: {what}")
    if not options.tracking_uri.startswith(("http://", "https://")):
        console.note(
            f"to open these: mlflow server --workers 1 --backend-store-uri {address.shown(options.tracking_uri)}"
        )
    for title, url in links(options.tracking_uri, experiment_id, run_id).items():
        console.note(f"{title}: {url}")


def _deliver(options: Options, ex: Execution, console: Console) -> None:
    """Writes what an earlier process could not."""
    if not (beside(ex) / "tracking" / spool.FILE).exists():
        return
    tracked = Tracked(options, ex, console)
    tracked.tracker.start()
    try:
        tracked.tracker.check()
        tracked.tracker.flush()
    finally:
        tracked.tracker.close("finished")
        tracked.write()


def _scores(ex: Execution, replicates: pd.DataFrame) -> dict[str, float]:
    """What executions are compared by: each arm's mean validation score, of replicates or else of re-seeded members."""
    metric = ex.study.objective.metric
    if metric in replicates and replicates[metric].notna().all():
        return {str(arm): float(score) for arm, score in replicates.groupby("arm")[metric].mean().items()}
    ledger = ex.tables.read("ledger").drop_duplicates("trial_id", keep="last")
    selected = ledger[(ledger["phase"] == "select") & (ledger["outcome"] == "finished")]
    means = selected.groupby(["arm", "number"])["objective"].mean().groupby("arm")
    best = means.min() if ex.study.objective.direction == "minimize" else means.max()
    return {str(arm): float(score) for arm, score in best.items()}


def _basis(study: Mapping[str, Any]) -> str:
    """Scores compare between executions on the same images, split alike, by the same metric."""
    return digest(
        {"data": study["dataset_info"]["digest"], "dataset": study["dataset"], "objective": study["objective"]}
    )


@dataclass(frozen=True)
class Loaded:
    """A replicate with its weights, its checkpoint's files, and validation images of its split to look at it with.

    `initial` are the weights with which its training began.
    """

    id: str
    model: Model
    files: Mapping[str, bytes]
    subject: Subject
    initial: Mapping[str, Tensor]

    @property
    def images(self) -> Tensor:
        """A few of the images, float32 [N, C, H, W] in [0, 1]."""
        return self.subject.x(slice(PICTURED))

    @property
    def labels(self) -> Tensor:
        """Theirs, int64 [N]."""
        return self.subject.labels[:PICTURED]

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(p.numel() for p in self.model.parameters())


def load(ex: Execution, id: str, dataset: Dataset) -> Loaded:
    """A replicate as its checkpoint has it; raises `UserError` where that is missing or damaged."""
    checkpoint = checkpoints.load(ex.storage, id)
    configuration = parse(ex.study, json.dumps(checkpoint.config["configuration"]))
    development = dataset.development()
    model = configuration.model.build(tuple(development.images.shape[1:]), dataset.classes)
    data, seeds = configuration.dataset, checkpoint.config["seeds"]
    initialise(model, seeds["initial"])
    initial = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.load_state_dict(checkpoint.weights)
    _, validation = split(development.labels, data.n_validation, data.n_train, seeds["split"], development.groups)
    index = validation[:EXPLORED]
    images, labels = torch.from_numpy(development.images[index]), torch.from_numpy(development.labels[index])
    subject = Subject(id, model.requires_grad_(False), images, labels, dataset.class_names)
    files = {name: ex.storage.read(f"checkpoints/{id}/{name}") for name in checkpoints.PORTABLE}
    files[checkpoints.MANIFEST] = checkpoints.portable(files[checkpoints.MANIFEST])
    return Loaded(id, model, files, subject, initial)


def _pictures(publisher: Publisher, ex: Execution, dataset: Dataset, arm: str) -> None:
    """What replicate 0 of an arm with a decoder made of the same images, epoch by epoch."""
    replicate = load(ex, replicate_id(arm, 0), dataset)
    model, examples = replicate.model, (replicate.images, replicate.labels)
    if not decodes(model):
        return
    # From step 0 on: there MLflow's page begins.
    for epoch, weights in [(0, replicate.initial), *snapshots.read(ex.storage, replicate.id)]:
        model.load_state_dict(weights)
        publisher.picture(pictures.reconstructions(model, *examples), f"{arm}/reconstruction", epoch)
        publisher.picture(pictures.traversals(model, *examples), f"{arm}/traversal", epoch)
