"""The C library's allocator, set for a process that runs for months.

glibc maps large blocks apart, so that freeing them gives them back; but each time such a block is freed it takes the
block's size for the new bound of "large", up to 32 MiB. From then on the tables and buffers of some MiB that a process
replaces now and then come out of its heap, and leave holes there that nothing fits into.
"""

import ctypes
from typing import Final

# malloc.h's names for mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

MAPPED_FROM: Final = 2 << 20
"""Bytes from which a block is mapped apart: above what a usual batch takes, since mapping costs a fault per page."""
_KEPT_AT_THE_TOP: Final = 4 << 20
"""Free bytes at the heap's end that are not given back, so that it doesn't breathe with each batch."""


def settle() -> None:
    """Hold the bound where it is. Does nothing where the C library has no such setting (musl gives all back)."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_AT_THE_TOP)
