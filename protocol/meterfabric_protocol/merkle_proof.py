"""The checking of Merkle proofs: what an auditor does who holds roots, and no tree."""

from collections.abc import Iterator, Sequence

from .errors import ProofError
from .merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, node_hash


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with hash `leaf` is number `index` of the tree of `size` leaves with this root.

    RFC 9162 section 2.1.3.2. Raises ProofError.
    """
    what = "inclusion proof"
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(what, f"no leaf {index} in a tree of {size}")
    _check_hashes(what, leaf, root, *proof)
    value = leaf
    for sibling, is_left in _climb(what, index, size - 1, proof):
        value = node_hash(sibling, value) if is_left else node_hash(value, sibling)
    if value != root:
        raise ProofError(what, f"leaf {index} of {size} leads to another root")


def verify_consistency(m: int, n: int, proof: Sequence[bytes], root_m: bytes, root_n: bytes) -> None:
    """Check that the tree of `m` leaves with root `root_m` begins the tree of `n` leaves with root `root_n`.

    RFC 9162 section 2.1.4.2, and the empty tree begins every tree. Raises ProofError.
    """
    what = "consistency proof"
    if not 0 <= m <= n <= MAX_SIZE:
        raise ProofError(what, f"{m} leaves can't begin {n}")
    _check_hashes(what, root_m, root_n, *proof)
    if m in (0, n):
        if proof:
            raise ProofError(what, f"{len(proof)} hashes where {m} and {n} leaves take none")
        if (m == 0 and root_m != EMPTY_ROOT) or (m == n and root_m != root_n):
            raise ProofError(what, f"another root at {m}")
        return
    # Both roots are climbed to from the subtree that ends at m: the proof's first hash, or the old root itself.
    path = proof if m & (m - 1) else [root_m, *proof]
    if not path:
        raise ProofError(what, f"no hashes for {m} and {n} leaves")
    old = new = path[0]
    level = (m & -m).bit_length() - 1
    for sibling, is_left in _climb(what, m - 1 >> level, n - 1 >> level, path[1:]):
        if is_left:
            old = node_hash(sibling, old)
        new = node_hash(sibling, new) if is_left else node_hash(new, sibling)
    if old != root_m or new != root_n:
        raise ProofError(what, f"another root at {m if old != root_m else n}")


def _climb(what: str, at: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The siblings on the way from node `at` of a level whose last is `last` up to the root, and which are left ones.

    Raises ProofError where the proof isn't of that length.
    """
    for sibling in proof:
        if not last:
            raise ProofError(what, f"{len(proof)} hashes are too many")
        # A node at the ragged right edge has no sibling on some levels; climb to where it has one, on its left.
        while at == last and not at & 1:
            at, last = at >> 1, last >> 1
        yield sibling, bool(at & 1)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError(what, f"{len(proof)} hashes are too few")


def _check_hashes(what: str, *hashes: bytes) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise ProofError(what, f"a hash of {len(value)} bytes, not {HASH_BYTES}")
