"""Beside the report: explorer.html, the latent space of the best replicate of every arm that decodes."""

from __future__ import annotations

from vaetune.datasets.base import Dataset
from vaetune.errors import UserError
from vaetune.models.configs import GenerativeConfig
from vaetune.study import Arm, Study
from vaetune.study.console import Console
from vaetune.study.execution import Execution
from vaetune.study.select import best_replicate
from vaetune.study.space import configuration

FILE = "report/explorer.html"


def explore(ex: Execution, dataset: Dataset, console: Console) -> None:
    """Writes the file, unless no arm decodes; imports torch only then. What cannot be shown costs a line here."""
    arms = [arm for arm in ex.study.arms if _may_decode(ex.study, arm)]
    rows = ex.tables.read("replicates").drop_duplicates("replicate_id", keep="last")
    finished = rows[(rows["outcome"] == "finished") & rows["arm"].isin([arm.name for arm in arms])]
    if finished.empty:
        return
    from vaetune.latents import page
    from vaetune.study.publish import load

    try:
        best = [best_replicate(mine, ex.study.objective) for _, mine in finished.groupby("arm", sort=False)]
        subjects = [load(ex, id, dataset).subject for id in best]
        ex.storage.write(FILE, page.write(ex.study.name, [s for s in subjects if s.decodes and s.latents > 1]).encode())
    except UserError as error:
        console.note(f"explorer: {error}")
        return
    console.note(f"explorer: {ex.storage.uri}/{FILE}")


def _may_decode(study: Study, arm: Arm) -> bool:
    """By the configuration alone."""
    model = configuration(study, arm, {}).model
    return isinstance(model, GenerativeConfig) or getattr(model, "decoder", None) is not None
