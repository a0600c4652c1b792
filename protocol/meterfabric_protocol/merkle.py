"""RFC 6962 Merkle trees: what a log's leaves add up to, and the proofs about it.

Two views of one tree. A `CompactRange` is what a sidecar and a sink keep: the few hashes from which a log can go on.
A `Tree` is what a prover builds when there are leaves to prove things about; merkle_proof checks what it makes. Both
grow through `_levels`, which hashes level by level over whole buffers, for this is the hottest loop of the whole fabric
(a record costs one leaf hash and one interior hash on each side): the loop itself is in C.

Hashes are 32 bytes of SHA-256 with RFC 6962 section 2.1's prefixes (0 for leaves, 1 for nodes); many of them are one
buffer, one after another. Indexes and sizes count leaves; a range [first, size) holds the leaves first … size-1.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Self

from ._merkle import line_hashes, pair_hashes
from .errors import Malformed

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "MAX_SIZE",
    "CompactRange",
    "Tree",
    "hash_at",
    "leaf_hash",
    "leaf_hashes",
    "line_hashes",
    "node_hash",
]

HASH_BYTES: Final = 32
MAX_SIZE: Final = 2**63 - 1
"""No log grows larger, so that every size and index fits a signed 64-bit column."""

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of the tree of no leaves (RFC 6962 section 2.1)."""

# Copying a digest that has seen its prefix is cheaper than making one: OpenSSL 3 looks the algorithm up each time.
_LEAF: Final = hashlib.sha256(b"\0")


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\0" + data).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> bytes:
    """The hashes of some leaves, in order. A payload of many goes through `line_hashes`, which is twice as fast."""
    copy, digests = _LEAF.copy, list[bytes]()
    for leaf in leaves:
        digest = copy()
        digest.update(leaf)
        digests.append(digest.digest())
    return b"".join(digests)


def hash_at(hashes: bytes, index: int) -> bytes:
    """One hash of a buffer of them."""
    return hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES]


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an interior node (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class CompactRange:
    """The leaves [first, size) as the roots of the fewest aligned subtrees that tile them, left to right.

    A subtree is aligned when its 2**level leaves begin at a multiple of 2**level. The range of a batch can be glued to
    the range before it (`extend`), so a stub of a few hashes keeps every later root verifiable. With first == 0 this is
    a log's frontier.

    Raises ValueError where the bounds or the number of hashes don't fit each other.
    """

    first: int
    size: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.size <= MAX_SIZE:
            raise ValueError(f"no range of leaves: [{self.first}, {self.size})")
        if len(self.hashes) != len(_tiles(self.first, self.size)):
            raise ValueError(f"{len(self.hashes)} hashes for the range [{self.first}, {self.size})")

    @classmethod
    def empty(cls, first: int = 0) -> Self:
        """The range of no leaves that stands before leaf `first`."""
        return cls(first, first, ())

    def append(self, hashes: bytes) -> "CompactRange":
        """This range and the leaves with these hashes after it.

        Costs about one interior hash per leaf, whatever the log's size. Who needs a batch's own range and the frontier
        after it makes the range first (`empty(first).append(…)`) and glues it on with `extend`, which hashes next to
        nothing.
        """
        left = [h for h, (_, index) in zip(self.hashes, _tiles(self.first, self.size), strict=True) if index & 1]
        right = []
        for start, nodes in _levels(self, hashes):
            # What can find no sibling within the range: an odd node at the left end, an even one at the right end.
            if nodes and start & 1:
                left.append(nodes[:HASH_BYTES])
            if nodes and (start + len(nodes) // HASH_BYTES) & 1:
                right.append(nodes[-HASH_BYTES:])
        return CompactRange(self.first, self.size + len(hashes) // HASH_BYTES, (*left, *reversed(right)))

    def extend(self, other: "CompactRange") -> "CompactRange":
        """This range and the one right after it, as one. Raises ValueError where `other` begins elsewhere."""
        if other.first != self.size:
            raise ValueError(f"a range from {other.first} does not go on one that ends at {self.size}")
        tiles = chain(_tiles(self.first, self.size), _tiles(other.first, other.size))
        stack: list[tuple[int, int, bytes]] = []
        for (level, index), value in zip(tiles, chain(self.hashes, other.hashes), strict=True):
            tile = (level, index, value)
            while stack and tile[1] & 1 and stack[-1][:2] == (tile[0], tile[1] - 1):
                tile = (tile[0] + 1, tile[1] >> 1, node_hash(stack.pop()[2], tile[2]))
            stack.append(tile)
        return CompactRange(self.first, other.size, tuple(value for _, _, value in stack))

    def root(self) -> bytes:
        """The root of the tree of these leaves. Raises ValueError unless the range begins at 0."""
        if self.first:
            raise ValueError(f"a range that begins at {self.first} has no root")
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT

    def subtrees(self) -> list[tuple[int, int, bytes]]:
        """The subtrees that tile the range, left to right: first leaf, end, root."""
        tiles = zip(_tiles(self.first, self.size), self.hashes, strict=True)
        return [(index << level, index + 1 << level, root) for (level, index), root in tiles]

    def encode(self) -> bytes:
        """The hashes one after another; `first` and `size` travel beside them."""
        return b"".join(self.hashes)

    @classmethod
    def decode(cls, first: int, size: int, data: bytes) -> Self:
        """The range [first, size) from its hashes. Raises Malformed where they don't fit the bounds."""
        if not 0 <= first <= size <= MAX_SIZE:
            raise Malformed("compact range", f"no range of leaves: [{first}, {size})")
        wanted = len(_tiles(first, size)) * HASH_BYTES
        if len(data) != wanted:
            raise Malformed("compact range", f"[{first}, {size}) takes {wanted} bytes of hashes, not {len(data)}")
        return cls(first, size, tuple(bytes(data[i : i + HASH_BYTES]) for i in range(0, wanted, HASH_BYTES)))


class Tree:
    """The leaves of one log in memory with every complete subtree's root, to make proofs from.

    With a `frontier` [0, first), only the leaves from `first` on are in memory; what is asked of leaves before it can
    be answered only where the frontier's own hashes suffice, which they always do for proofs of the leaves held.
    Takes about 64 bytes of hashes per leaf.
    """

    def __init__(self, hashes: bytes, frontier: CompactRange | None = None) -> None:
        frontier = CompactRange.empty() if frontier is None else frontier
        if frontier.first:
            raise ValueError(f"a tree can't stand on a range that begins at {frontier.first}")
        self.first = frontier.size
        self.size = frontier.size + len(hashes) // HASH_BYTES
        self._levels = _levels(frontier, hashes)

    def root(self, size: int) -> bytes:
        """The root of the first `size` leaves. Raises ValueError beyond what is held."""
        _need(0 <= size <= self.size, f"no root at {size} of {self.size} leaves")
        return self._subtree(0, size) if size else EMPTY_ROOT

    def range(self, first: int, size: int) -> CompactRange:
        """The compact range of [first, size). Raises ValueError beyond what is held."""
        _need(0 <= first <= size <= self.size, f"no range [{first}, {size}) of {self.size} leaves")
        return CompactRange(first, size, self._tile_hashes(first, size))

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """The audit path of leaf `index` to the root at `size`, leaf's sibling first (RFC 6962 section 2.1.1)."""
        _need(self.first <= index < size <= self.size, f"no proof of leaf {index} in {size} of {self.size} leaves")
        path, _ = self._descend(index, size)
        return path[::-1]

    def consistency_proof(self, m: int, n: int) -> list[bytes]:
        """The proof that the first `m` leaves begin the first `n` (RFC 6962 section 2.1.2), empty for m == n or 0."""
        _need(0 <= m <= n <= self.size, f"no consistency of {m} with {n} of {self.size} leaves")
        if m in (0, n):
            return []
        path, low = self._descend(m - 1, n, until=m)
        # The verifier knows the old root: the subtree where the walk ends is sent only where it isn't that root.
        if low:
            path.append(self._subtree(low, m))
        return path[::-1]

    def _descend(self, index: int, size: int, until: int = 0) -> tuple[list[bytes], int]:
        """The siblings on the way from the root at `size` down to leaf `index`, or to the subtree that ends at `until`.

        Returns them, root's child first, and where the subtree begins that the walk ended at.
        """
        siblings = []
        low, high = 0, size
        while high - low > 1 and high != until:
            split = low + (1 << (high - low - 1).bit_length() - 1)
            if index < split:
                siblings.append(self._subtree(split, high))
                high = split
            else:
                siblings.append(self._subtree(low, split))
                low = split
        return siblings, low

    def _subtree(self, low: int, high: int) -> bytes:
        return _fold(self._tile_hashes(low, high))

    def _tile_hashes(self, low: int, high: int) -> tuple[bytes, ...]:
        return tuple(self._node(level, index) for level, index in _tiles(low, high))

    def _node(self, level: int, index: int) -> bytes:
        start, nodes = self._levels[level]
        _need(index >= start, f"leaves {index << level} to {index + 1 << level} are before what is held")
        return hash_at(nodes, index - start)


def _levels(base: CompactRange, hashes: bytes) -> list[tuple[int, bytes]]:
    """Per level, from the leaves up: the index of the first node known there, and the nodes from it on.

    The nodes are those that the leaves with these hashes, appended to `base`, complete, and those of `base` that still
    wait for a right sibling.
    """
    if len(hashes) % HASH_BYTES:
        raise ValueError(f"{len(hashes)} bytes are no hashes of {HASH_BYTES} bytes each")
    tiles = zip(_tiles(base.first, base.size), base.hashes, strict=True)
    waiting = {level: value for (level, index), value in tiles if not index & 1}
    levels: list[tuple[int, bytes]] = []
    start, nodes = base.size, hashes
    while nodes or waiting:
        value = waiting.pop(len(levels), None)
        if value is not None:
            start = (base.size >> len(levels)) - 1
            nodes = value + nodes
        levels.append((start, nodes))
        odd = (start & 1) * HASH_BYTES
        pairs = max(0, len(nodes) - odd) // (2 * HASH_BYTES)
        nodes = pair_hashes(memoryview(nodes)[odd : odd + pairs * 2 * HASH_BYTES])
        start = start + 1 >> 1
    return levels


def _tiles(first: int, size: int) -> list[tuple[int, int]]:
    """The (level, index) of the fewest aligned subtrees that tile [first, size), left to right."""
    tiles = []
    while first < size:
        level = (size - first).bit_length() - 1
        if first:
            level = min(level, (first & -first).bit_length() - 1)
        tiles.append((level, first >> level))
        first += 1 << level
    return tiles


def _fold(hashes: Sequence[bytes]) -> bytes:
    value = hashes[-1]
    for left in reversed(hashes[:-1]):
        value = node_hash(left, value)
    return value


def _need(holds: bool, why: str) -> None:
    if not holds:
        raise ValueError(why)
