"""A model card in Markdown: what it is, on what data, how good with what interval, how to load it, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vaetune import endpoints
from vaetune.endpoints import Endpoint

_ROWS = {
    "test/neg_elbo": "test −ELBO, nats",
    "test/neg_iwae": "test −IWAE bound, nats",
    "test/squared_error": "test squared error of a pixel",
    "test/nll": "test NLL, nats",
    "test/nll_scaled": "test NLL, temperature-scaled",
    "test/brier": "test Brier score",
    "test/ece_scaled": "test ECE, temperature-scaled",
    "val/error": "validation error",
    "train/error": "training error",
}


def card(
    study: Mapping[str, Any],
    arm: Mapping[str, Any],
    summary: Mapping[str, Any],
    replicate_id: str,
    parameters: int,
    parts: Sequence[str],
) -> str:
    """The card of an arm's best replicate; `study` as in study.json, `summary` the arm's row of the report."""
    data, name = study["dataset_info"], f"{study['name']}-{arm['name']}"
    n, endpoint = int(summary["replicates"]), Endpoint(**study.get("endpoint", vars(endpoints.ERROR)))
    lines = [
        f"# {name}",
        "",
        f"{arm['summary'].capitalize()}. The replicate `{replicate_id}` of {n}, chosen by "
        f"`{study['objective']['metric']}` on validation, never by test; {parameters:,} parameters; "
        f"execution `{study['run']}`.",
        "",
        f"**Data.** `{data['name']}` (sha256 {data['digest'][:16]}…): {data['n_train']:,} training, "
        f"{data['n_validation']:,} validation, {data['test']:,} test images. Images go in as float32 in [0, 1].",
        "",
        "**Scores of the arm**, not of this replicate, which is a lucky one:",
        "",
        f"| metric | mean of {n} replicates | 95 % interval |",
        "|---|---|---|",
        _row(endpoint.name, *(summary[f"{endpoint.metric}{end}"] for end in ("", "_low", "_high"))),
        *(
            _row(title, summary[key], summary[key] - summary[f"{key}_half"], summary[key] + summary[f"{key}_half"])
            for key, title in _ROWS.items()
            if f"{key}_half" in summary and summary[key] == summary[key]
        ),
        "",
        f"The interval of the {endpoint.name} is over seeds{' and test images' if endpoint.loss else ''}, the others "
        "over seeds.",
        "",
        "**Load.**",
        "",
        "```python",
        "import mlflow, vaetune",
        f'model = vaetune.load("{study["name"]}", arm="{arm["name"]}")  # predict, encode, decode, metrics, config',
        f'model = mlflow.pytorch.load_model("models:/{name}@champion")  # {parts[0]}: one tensor in, one out',
        "```",
        "",
        f"The tags `vaetune.{'`, `vaetune.'.join(parts)}` of this version name the parts by themselves. The folder "
        "`checkpoint` holds the source of truth: config.json, weights.safetensors and their manifest.",
        "",
        "**Limits.** Trained to compare regularizers on these data, not for use on others: no robustness, fairness or "
        "shift was measured here. Noise and dropout are off in what is logged; the encoder gives posterior means only.",
    ]
    return "\n".join(lines)


def _row(title: str, mean: float, low: float, high: float) -> str:
    interval = f"{low:.4f} to {high:.4f}" if low == low and high == high else "–"
    return f"| {title} | {mean:.4f} | {interval} |"
