"""Which images are held out for validation."""

from __future__ import annotations

import numpy as np

SPLIT_SEED = 0
"""Seed of the one split that every run uses, whatever its own seed: all methods and repeats of a
study then score on the same validation images, so their differences come from training."""


def train_valid_split(n: int, valid: int, seed: int = SPLIT_SEED) -> tuple[np.ndarray, np.ndarray]:
    """Cut a fixed random permutation of `n` images in two. Not stratified.

    Args:
        n: Number of images.
        valid: Size of the validation part.
        seed: Seed of the permutation; not the seed of a run (see `SPLIT_SEED`).

    Returns:
        `(n - valid,)` training and `(valid,)` validation positions, int64, disjoint, in random order.

    Raises:
        ValueError: `valid` is not between 1 and n - 1.
    """
    if not 1 <= valid < n:
        raise ValueError(f"{valid} validation images of {n}: must be between 1 and {n - 1}")
    # RandomState's stream is frozen; a Generator's may change with the numpy version.
    order = np.random.RandomState(seed).permutation(n).astype(np.int64)
    return order[valid:], order[:valid]
