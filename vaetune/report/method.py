"""The box "How this was measured": data, seeds, budgets, versions, and what the intervals are conditional on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from vaetune.report.comparisons import SEARCHES
from vaetune.report.document import Facts
from vaetune.report.evidence import Evidence
from vaetune.report.primary import Primary
from vaetune.report.words import count, duration, percent, plural

EXPLORATORY = (
    "Everything but the declared comparisons: arm tables, curves, secondary metrics (Benjamini–Hochberg), any "
    "comparison that a reader makes by eye. “A differs from the baseline and B does not” is not a comparison "
    "of A with B."
)


def how_measured(found: Evidence) -> Facts:
    """Terms and facts, from study.json and environment.json."""
    study, environment = found.study, found.environment
    searches = len(np.unique(found.search))
    return Facts(
        [
            ("Endpoint", _endpoint(study, found.endpoint)),
            ("Data", _data(study, study["dataset_info"])),
            ("Replicates", _replicates(study, len(found.search))),
            ("Search", _search(study, study["budget"], searches)),
            ("Intervals", _conditional(searches, found)),
            ("Verdicts", _verdicts(study, found.margin, found.endpoint)),
            ("Exploratory", EXPLORATORY),
            ("Repeatability", _repeatability(study)),
            ("Software", _software(environment)),
            ("Hardware", _hardware(environment)),
            ("Wall time", _wall_time(environment)),
        ]
    )


def _endpoint(study: dict[str, Any], endpoint: Primary) -> str:
    return f"{endpoint.definition} Preset {study['preset']}, root seed {study['seed']}."


def _data(study: dict[str, Any], info: dict[str, Any]) -> str:
    noise = study["dataset"].get("label_noise", 0)
    return (
        f"{info['name']} (digest {str(info['digest'])[:12]}): {count(info['n_train'])} training and "
        f"{count(info['n_validation'])} validation images of a pool of {count(info['train'])}, "
        f"{count(info['test'])} test images, {count(info['classes'])} classes"
        f"{f'; {percent(noise, 0)} % of the training labels replaced' if noise else ''}."
    )


def _replicates(study: dict[str, Any], n: int) -> str:
    refit = ", trained on training and validation images together" if study["replication"]["refit"] else ""
    own = [arm["name"] for arm in study["arms"] if arm.get("replicate_stream")]
    paired = "Replicate i has the same split, batch order and shared initialisation in every arm"
    paired += f", but for {', '.join(own)}, which have streams of their own." if own else "."
    extra = study["replication"].get("extra_epochs", 0)
    longer = f", {plural(extra, 'epoch')} beyond the length that was selected" if extra else ""
    seen = (
        f" They go on from those of run {before}, which had been measured on them."
        if (before := study.get("extends"))
        else ""
    )
    return (
        f"{count(n)} an arm, each on a fresh seed and at full length{longer}{refit}. {paired} "
        f"The test images were opened for replicates only.{seen}"
    )


def _search(study: dict[str, Any], budget: dict[str, Any], searches: int) -> str:
    several = f" and search, {searches} searches" if searches > 1 else ""
    return (
        f"{plural(budget['trials'], 'trial')} an arm{several}, of which {count(budget['audit'])} random and never "
        "stopped; every arm has its own sampler and its own rungs (the first after "
        f"{plural(budget['grace'], 'epoch')}, the best 1 in {budget['reduction']} go on). The best "
        f"{count(budget['top_k'])} were trained again on {plural(budget['reseeds'], 'fresh seed')} to choose one. "
        f"Search looks at {study['objective']['metric']} only."
    )


def _verdicts(study: dict[str, Any], margin: float, endpoint: Primary) -> str:
    error = (
        "with seeds and test examples as two crossed random factors and Satterthwaite's degrees of freedom"
        if endpoint.loss
        else "that of Student's t over replicates: no mean over test examples, it is conditional on the test set"
    )
    return (
        f"At 5 % after Holm over {plural(len(study['comparisons']), 'declared comparison')}; equivalence by two "
        f"one-sided tests against ±{endpoint.value(margin)} {endpoint.unit}, a margin fixed before the search. "
        f"Estimate, interval and both p values rest on one standard error, {error}."
    )


def _conditional(searches: int, found: Evidence) -> str:
    refit = found.study["replication"]["refit"]
    data = "Conditional on the training pool" + ("" if refit else ", whose partition the replicates vary")
    size = f"Each rests on {count(found.examples)} test examples."
    if searches >= SEARCHES:
        return (
            f"{data}. Inference is over {searches} independent searches an arm: each counts once, with the mean of its "
            f"replicates. {size}"
        )
    if searches == 1:
        return (
            f"{data}, and on the configuration that one search selected for each arm: a verdict reads “this "
            f"configuration of A against this one of B” and says nothing about another search. {size}"
        )
    return (
        f"{data}, and on the configurations that {searches} searches selected for each arm; inference over searches "
        f"needs at least {SEARCHES}. {size}"
    )


def _repeatability(study: dict[str, Any]) -> str:
    replicates = "replicates are a function of configuration, seed and CPU or GPU type"
    if study["reproducible"]:
        return f"The search ran in reproducible mode; {replicates}."
    return f"The search ran concurrently with early stopping and would not choose the same trials again; {replicates}."


def _software(environment: dict[str, Any]) -> str:
    git = environment.get("git")
    revision = "not a git checkout"
    if git:
        revision = f"revision {str(git['revision'])[:12]}{', with uncommitted changes' if git['dirty'] else ''}"
    packages = ", ".join(f"{name} {version}" for name, version in sorted(environment.get("packages", {}).items()))
    return f"vaetune {environment['vaetune']} ({revision}), Python {environment['python']}; {packages}."


def _hardware(environment: dict[str, Any]) -> str:
    machine = environment["hardware"]
    gpus = ", ".join(map(str, machine["gpus"])) or "no GPU"
    routes = ", ".join(f"{key} {value}" for key, value in environment.get("routes", {}).items())
    memory = f", {float(machine['memory_gib']):.0f} GiB" if machine.get("memory_gib") else ""
    return (
        f"{machine['cpu']}, {plural(int(machine['cores']), 'core')}{memory}, {gpus}{f'; {routes}' if routes else ''}."
    )


def _wall_time(environment: dict[str, Any]) -> str:
    phases = environment.get("wall_seconds", {})
    total = duration(sum(phases.values()))
    listed = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in phases.items())
    started = f"{datetime.fromisoformat(environment['started']).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{total} ({listed}); started {started}." if phases else f"Started {started}."
