"""What is accepted as a document: a string, and not of any length; a line of 200 MB is quarantined, not cleaned."""

from typing import Any

MEGABYTE = 1_000_000
PAGE = 20 * MEGABYTE  # bytes or characters; nearly all pages of a crawl are smaller than 1 MB


def refuse_large(what: str, size: int, limit: int, unit: str) -> None:
    """Do nothing for what is small enough.

    Raises:
        ValueError: if `size` exceeds `limit`; both are named.
    """
    if size > limit:
        raise ValueError(
            f"{what} has {size:,} {unit}, more than the limit of {limit:,}: "
            f"put it into quarantine, split it, or pass limit={size}"
        )


def refuse_no_text(text: Any) -> None:
    """Do nothing for a string.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(text, str):
        raise ValueError(f"a text must be a string, got {type(text).__name__}: decode bytes first")
