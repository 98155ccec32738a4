"""How far each latent holds one known factor and each factor sits in one latent: MIG, DCI, SAP, FactorVAE score.

Pure functions of codes [N, Z] (posterior means) and factors [N, K] (whole numbers), all in [0, 1], larger is better.
None of them asks whether the factors are independent in the data; on `shapes` they are, by construction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.float64]
Factors = NDArray[np.int64]

BINS = 20
GROUP, VOTES = 64, 2_000
ALIVE = 0.05
"""A latent whose standard deviation is below this has collapsed to the prior's mean; see `factor_vae`."""


def scores(codes: Codes, factors: Factors, seed: int) -> dict[str, float]:
    """All four as metrics of a replicate; `seed` draws the forests of DCI and the groups of the FactorVAE score."""
    return {
        "test/mig": mig(codes, factors),
        "test/dci": dci(codes, factors, seed),
        "test/sap": sap(codes, factors),
        "test/factor_vae": factor_vae(codes, factors, seed),
    }


def mig(codes: Codes, factors: Factors) -> float:
    """The mutual information gap (Chen et al. 2018, eq. 6), of codes in 20 bins of equal width a latent.

    Bins make the estimate a little too high for latents that know nothing; the gap hardly feels it.
    """
    binned = np.stack([np.digitize(z, np.histogram_bin_edges(z, BINS)[:-1]) for z in codes.T], axis=1)
    gaps = []
    for factor in factors.T:
        information = sorted(_information(z, factor) for z in binned.T)
        gaps.append((information[-1] - ([0.0, *information])[-2]) / _information(factor, factor))
    return float(np.mean(gaps))


def dci(codes: Codes, factors: Factors, seed: int) -> float:
    """Disentanglement of Eastwood & Williams (2018, §2): does each latent matter for one factor only?

    The importance of a latent for a factor is that of a random forest that predicts the factor from all codes, as in
    the paper; other implementations boost trees, whose values differ. 0 where no latent matters for anything.
    """
    from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]

    columns = []
    for factor in factors.T:
        forest = RandomForestClassifier(20, max_features=None, min_samples_leaf=5, random_state=seed % 2**32)
        columns.append(forest.fit(codes, factor).feature_importances_)
    importance = np.stack(columns, axis=1)
    total = importance.sum()
    if not total:
        return 0.0
    share = importance / np.maximum(importance.sum(axis=1, keepdims=True), 1e-12)
    entropy = -np.sum(share * np.log(np.maximum(share, 1e-12)), axis=1) / np.log(factors.shape[1])
    weight = importance.sum(axis=1) / total
    return float(weight @ (1 - entropy))


def sap(codes: Codes, factors: Factors) -> float:
    """The separated attribute predictability (Kumar et al. 2018, §3): a gap as in MIG, of squared correlations.

    Their form for ordered factors; one without an order (a shape) counts by its numbers as they happen to be.
    """
    gaps = []
    for factor in factors.T:
        explained = sorted(_squared_correlation(z, factor) for z in codes.T)
        gaps.append(explained[-1] - ([0.0, *explained])[-2])
    return float(np.mean(gaps))


def factor_vae(codes: Codes, factors: Factors, seed: int) -> float:
    """The score of Kim & Mnih (2018, §4): a majority vote tells which factor a group of images has in common.

    The vote is cast by the latent that varies least within the group, relative to its spread over all images. Latents
    that hardly vary at all take no part; 0 where none is left. By chance 1 / K.
    """
    spread = codes.std(axis=0)
    codes = codes[:, spread > ALIVE] / spread[spread > ALIVE]
    if not codes.shape[1]:
        return 0.0
    rng = np.random.default_rng(seed)
    counts = np.zeros((2, codes.shape[1], factors.shape[1]), np.int64)
    members = [[np.flatnonzero(factor == value) for value in np.unique(factor)] for factor in factors.T]
    for half in counts:
        for factor in rng.integers(factors.shape[1], size=VOTES):
            alike = members[factor][rng.integers(len(members[factor]))]
            group = codes[alike[rng.integers(len(alike), size=GROUP)]]
            half[group.var(axis=0).argmin(), factor] += 1
    votes = counts[0].argmax(axis=1)
    return float(counts[1][np.arange(len(votes)), votes].sum() / VOTES)


def _information(a: Factors, b: Factors) -> float:
    """Mutual information of two discrete columns in nats; of a column with itself its entropy."""
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float(np.sum(joint[there] * np.log(joint[there] / apart[there])))


def _squared_correlation(z: NDArray[np.float64], factor: Factors) -> float:
    if z.std() < ALIVE**2:  # rounding alone would correlate with anything
        return 0.0
    return float(np.corrcoef(z, factor)[0, 1] ** 2)
