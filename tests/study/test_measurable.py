"""An endpoint that the data or the replication do not let measure is refused before anything is trained."""

from __future__ import annotations

import pytest

from vaetune.datasets import open_dataset
from vaetune.errors import UserError
from vaetune.models.configs import VAEConfig
from vaetune.study import Arm, Replication, Study
from vaetune.study.runner import measurable


def study(endpoint: str, ais: int = 0) -> Study:
    arms = (Arm(name="vae", summary=""),)
    return Study(
        name="s", hypothesis="h", arms=arms, model=VAEConfig(), endpoint=endpoint, replication=Replication(ais=ais)
    )


@pytest.mark.parametrize(
    ("endpoint", "dataset", "ais"),
    [
        ("test/mig", "shapes", 0),
        ("test/neg_ais", "four_points", 8),
        ("test/transfer_error", "pairs:conjoint_toy::conjoint_toy", 0),
        ("test/neg_elbo", "digits", 0),
    ],
)
def test_what_can_be_measured_passes(endpoint: str, dataset: str, ais: int) -> None:
    measurable(study(endpoint, ais), open_dataset(dataset))


@pytest.mark.parametrize(
    ("endpoint", "dataset", "ais", "message"),
    [
        ("test/mig", "digits", 0, "needs data with known factors, such as shapes"),
        ("test/neg_ais", "four_points", 0, "needs replication.ais, .* from 2 to 256, found 0"),
        ("test/neg_ais", "four_points", 300, "from 2 to 256, found 300"),
        ("test/transfer_error", "digits", 0, "needs pairs whose left images have a private part that is known"),
        ("test/transfer_error", "pairs:digits::digits", 0, "needs pairs whose left images"),
    ],
)
def test_what_cannot_is_refused(endpoint: str, dataset: str, ais: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        measurable(study(endpoint, ais), open_dataset(dataset))
