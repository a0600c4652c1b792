"""What a process frees goes back to the system."""

import subprocess
import sys

import pytest

from meterfabric_runtime.memory import MAPPED_FROM

_IN_HEAP = """
import ctypes, sys
from meterfabric_runtime import memory

if sys.argv[1] == "settled":
    memory.settle()
large = bytearray(4 * memory.MAPPED_FROM)
del large
block = bytearray(int(sys.argv[2]))
at = ctypes.addressof(ctypes.c_char.from_buffer(block))
heap = next(line.split()[0] for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]"))
first, end = (int(part, 16) for part in heap.split("-"))
print(first <= at < end)
"""


@pytest.mark.parametrize(
    ("how", "size", "in_heap"),
    [("settled", MAPPED_FROM, False), ("settled", MAPPED_FROM // 2, True), ("as it comes", MAPPED_FROM, True)],
)
def test_a_large_block_stays_out_of_the_heap_though_a_larger_one_was_freed(how: str, size: int, in_heap: bool) -> None:
    found = subprocess.run(
        [sys.executable, "-c", _IN_HEAP, how, str(size)], stdout=subprocess.PIPE, text=True, check=True
    )
    assert found.stdout.strip() == str(in_heap)
