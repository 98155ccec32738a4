"""`python -m vaetune.datasets`: what there is, whether it is whole, getting it, preparing it, looking at it."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from vaetune.datasets import CATALOGUE, open_dataset
from vaetune.datasets.base import Images, Request, digest
from vaetune.datasets.leaks import overlap
from vaetune.datasets.prepared import PreparedDataset, Split, folder_of, verify
from vaetune.errors import UserError, unknown


def list_(options: argparse.Namespace) -> None:
    """name, whether it is here, and what it is"""
    for name, entry in CATALOGUE.items():
        module = importlib.import_module(f"vaetune.datasets.{entry.module}")
        summary = module.SUMMARY
        if entry.argument:
            print(f"{name + ':' + entry.argument:<40} {_here(module, options.data_root):<8} {summary}")
            continue
        try:
            open_dataset(name, options.data_root)
            here = "here"
        except UserError:
            here = "missing"
        print(f"{name:<40} {here:<8} {summary}")
    print("\nWhat is missing, `fetch NAME` gets from its publisher, or says how to get it.")


def _here(module: ModuleType, root: Path | None) -> str:
    """Whether the files of a family with options are here; "" for a family that has no place of its own."""
    if not hasattr(module, "folder"):
        return ""
    try:
        module.folder(Request(root=root))
    except UserError:
        return "missing"
    return "here"


def check(options: argparse.Namespace) -> None:
    """read both splits, compare checksums, print counts, class balance, digests, and what is in both"""
    dataset = open_dataset(options.name, options.data_root)
    print(f"{dataset.name}: {dataset.summary}\nlicence: {dataset.licence}")
    splits: dict[str, Callable[[], Images]] = {"development": dataset.development, "test": dataset.sealed_test}
    both = []
    for split, read in splits.items():
        images = read()
        both.append(images)
        found = digest(images)
        if isinstance(dataset, PreparedDataset):
            verify(images, found)
        counts = np.bincount(images.labels, minlength=dataset.classes)
        print(f"\n{split}: {len(images):,} images of {'x'.join(map(str, dataset.shape))}\ndigest {found}")
        for class_name, count in zip(dataset.class_names, counts, strict=True):
            print(f"  {class_name:<24}{count:>9,}  {count / len(images):6.1%}")
    print(f"\nin both splits: {overlap(*both)}")


def fetch(options: argparse.Namespace) -> None:
    """download from the publisher unless it is here"""
    open_dataset(options.name, options.data_root, download=True)
    print(f"{options.name} is here")


def prepare(options: argparse.Namespace) -> None:
    """decode image files into a memory map, once"""
    dataset = open_dataset(options.name, options.data_root)
    if not isinstance(dataset, PreparedDataset):
        print(f"{dataset.name} needs no preparing")
        return
    splits: tuple[Split, ...] = ("development", "test")
    for split in splits:
        images = dataset.prepare(split, skip_bad=options.skip_bad)
        print(f"{split}: {len(images):,} images in {folder_of(images)}")


def sample(options: argparse.Namespace) -> None:
    """write a contact sheet of development images as PNG, or with --folder a small set for trying things"""
    from vaetune.datasets.sheet import chosen, contact_sheet
    from vaetune.datasets.small import some, write_folder

    for flag, number in (("--per-class", options.per_class), ("--images", options.images)):
        if number < 1:
            raise UserError(f"{flag} {number}: expected at least 1")
    dataset = open_dataset(options.name, options.data_root)
    if options.folder:
        train, test = write_folder(dataset, options.folder, options.images, options.seed)
        root = shlex.quote(str(options.folder.parent))
        print(f"{train} training and {test} test images: folder:{options.folder.name} with --data-root {root}")
        return
    target = options.output or Path(re.sub(r"\W+", "_", dataset.name) + ".png")
    images = some(dataset, lambda labels, _: chosen(labels, dataset.classes, options.per_class, options.seed))
    try:
        contact_sheet(images, dataset.class_names, options.per_class).save(target, format="PNG")
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    print(target)


COMMANDS = {"list": list_, "check": check, "fetch": fetch, "prepare": prepare, "sample": sample}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m vaetune.datasets", description=__doc__)
    commands = whole.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        one.add_argument("--data-root", type=Path, metavar="FOLDER", help="where to look first, and to write to")
        if name != "list":
            one.add_argument("name", help="a name that `list` shows")
        if name == "prepare":
            one.add_argument("--skip-bad", action="store_true", help="leave out files that are no usable images")
        if name == "sample":
            one.add_argument("--output", type=Path, metavar="PNG", help="file to write (default: NAME.png)")
            one.add_argument("--per-class", type=int, default=12, metavar="N", help="images a class (default: 12)")
            one.add_argument("--folder", type=Path, metavar="NEW", help="write images into this folder instead")
            one.add_argument("--images", type=int, default=200, metavar="N", help="of the folder (default: 200)")
            one.add_argument("--seed", type=int, default=0, help="which images (default: 0)")
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 2 for a mistake that the user can mend, 130 if interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and not words[0].startswith("-") and words[0] not in COMMANDS:
            raise unknown("command", words[0], COMMANDS)
        options = parser().parse_args(words)
        COMMANDS[options.command](options)
        sys.stdout.flush()
    except BrokenPipeError:  # `check … | head`: whoever read has seen enough; the interpreter's own flush must not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
