"""Where every random number of a study comes from."""

from __future__ import annotations

import hashlib


def seed_for(root: int, study: str, dataset: str, replicate: int, purpose: str) -> int:
    """A 63-bit seed that is a pure function of its arguments, the same on every machine.

    `purpose` separates streams that must not move together ("split", "init", "order", "noise", …).
    Purposes of search carry the arm's name, because arms search independently; purposes of replicates
    do not, because replicate i is the same split, batch order and shared initialisation in every arm.
    """
    text = "\x1f".join((str(root), study, dataset, str(replicate), purpose))
    return derive(text)


def derive(text: str) -> int:
    """The 63-bit seed of a text (the first eight bytes of its SHA-256, sign bit cleared)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
