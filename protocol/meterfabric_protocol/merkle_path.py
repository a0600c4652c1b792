"""An audit path to a root far behind its leaf, made from one batch's leaves and the roots of the subtrees after it."""

from .merkle import CompactRange, Tree, node_hash


def inclusion_beyond(tree: Tree, rest: CompactRange, index: int) -> list[bytes]:
    """The audit path of leaf `index`, one that `tree` holds, to the root at `rest.size`, leaf's sibling first.

    `rest` is the range right after the tree. RFC 6962 section 2.1.1. Raises ValueError where they don't fit each other.
    """
    if rest.first != tree.size or not tree.first <= index < tree.size:
        raise ValueError(f"no path of leaf {index} through [{tree.first}, {tree.size}) and [{rest.first}, {rest.size})")
    if rest.size == tree.size:
        return tree.inclusion_proof(index, tree.size)
    known = {(first, size): root for first, size, root in rest.subtrees()}

    def subtree(low: int, high: int) -> bytes:
        # A sibling lies on one side of the leaf, so it is made of whole subtrees of the tree and of the rest.
        if high <= tree.size:
            (root,) = tree.range(low, high).hashes
            return root
        if (low, high) in known:
            return known[low, high]
        middle = _split(low, high)
        return node_hash(subtree(low, middle), subtree(middle, high))

    path = []
    low, high = 0, rest.size
    while high - low > 1:
        middle = _split(low, high)
        if index < middle:
            path.append(subtree(middle, high))
            high = middle
        else:
            path.append(subtree(low, middle))
            low = middle
    return path[::-1]


def _split(low: int, high: int) -> int:
    return low + (1 << (high - low - 1).bit_length() - 1)
