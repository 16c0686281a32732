"""Operators that see a part of the channels (PC-DARTS), as skeletons say it. No torch here."""

from __future__ import annotations


def check_partial(partial: int, channels: int) -> None:
    """Refuse a share of the channels that is none.

    Args:
        partial: Operators see one of so many channels.
        channels: Of the narrowest nodes.

    Raises:
        ValueError: It is below 1, or does not divide the channels.
    """
    if partial < 1 or channels % partial:
        raise ValueError(f"operators cannot see one of {partial} channels of {channels}; give a divisor of {channels}")
