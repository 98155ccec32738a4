"""Fashion-MNIST: 70,000 pictures of clothes in MNIST's format (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747)."""

from __future__ import annotations

from vaetune.datasets.base import Dataset, Request
from vaetune.datasets.idx_family import IdxDataset, IdxFile, Source, locate

SUMMARY = "70,000 pictures of clothes, 28×28 grey (60,000 + 10,000)"
LICENCE = "MIT, Zalando SE"
CLASS_NAMES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

SOURCE = Source(
    folders=("FashionMNIST/raw", "fashion-mnist"),  # torchvision's, and that of Debian's package
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            (60_000,),
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            (10_000,),
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    ways=("apt-get install dataset-fashion-mnist  (Debian and its kin)",),
)


def dataset(request: Request) -> Dataset:
    """Fashion-MNIST, found in a data root or fetched."""
    return IdxDataset(
        name="fashion_mnist",
        summary=SUMMARY,
        licence=LICENCE,
        class_names=CLASS_NAMES,
        shape=(1, 28, 28),
        test_size=10_000,
        source=SOURCE,
        folder=locate("fashion_mnist", SOURCE, request),
    )
