r"""Values of a traced program: affine in the arguments and in the outputs of what is not affine, which are its *leaves*.

Every intermediate of a program is written as `v = c + sum_k N_k z_k` over leaves `z_k`. An argument is a leaf, and so is the output of
every operation that is not affine; everything else stays a recipe of affine steps. A sum of affine branches is therefore one
matrix and not a sum of norms: `y - A^T (A y - x)` has the matrix `I - A^T A` in `y`.

**Rounding.** A step whose matrix `T` has norm at most `g` errs in float64 by at most `gamma |T| |v|`, entry by entry, of norm at
most `gamma sqrt(N) g |v|`, with `N` entries the longest sum. After `d` steps a column is off by at most `x / (1 - x) G` of its size,
`x = d gamma sqrt(N)`, where `G` is the bound that multiplies norms along paths and adds them where paths meet. For transforms
`gamma` stands for the `O(log N) u` of the fast algorithm, which is far smaller. All columns together: `sqrt(n)` times that in l2, `n`
in sup, once in l1.

References:
    Higham 2002, Accuracy and Stability of Numerical Algorithms, sections 3.5 and 24.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from eqtheory.norms import Euclidean, Norm, Sup
from eqtheory.roundoff import gamma

__all__ = [
    "Affine",
    "Gains",
    "Interval",
    "Leaf",
    "Value",
    "allowance",
    "constant_of",
    "leaves_of",
    "matrix_of",
    "path_gain",
]

Interval = tuple[float, float]
Gains = Callable[[bool], tuple[float, ...]]
_CHUNK = 256  # columns evaluated at once: bounds the memory of intermediates


@dataclass(eq=False)
class Leaf:
    """An argument, or the output of an operation that is not affine: Lipschitz in every argument.

    Args:
        index: when it was made.
        shape: its shape.
        slopes: Lipschitz constants in the arguments, from above.
        limits: an interval that holds all its entries; worked out when asked for.
    """

    index: int
    shape: tuple[int, ...]
    slopes: tuple[float, ...]
    limits: Callable[[], Interval]
    is_complex: bool = False


@dataclass(eq=False)
class Affine:
    """One affine step from other values.

    Args:
        index: when it was made; operands are older.
        shape: its shape.
        operands: what it is computed from.
        full: the step, constants included.
        linear: the step without its constants.
        gains: norms of the step in each operand, from above; closer ones, at more cost, when called with True.
        disjoint: whether operands reach different entries of the output.
        is_complex: whether its entries are complex.
    """

    index: int
    shape: tuple[int, ...]
    operands: tuple[Leaf | Affine, ...]
    full: Callable[..., Tensor]
    linear: Callable[..., Tensor]
    gains: Gains
    disjoint: bool = False
    is_complex: bool = False
    matrices: dict[Leaf, Tensor] = field(default_factory=dict)


Value = Leaf | Affine


def leaves_of(value: Value) -> list[Leaf]:
    """Leaves a value is made of, oldest first.

    Args:
        value: any value.

    Returns:
        Its leaves; the value itself if it is one.
    """
    return [node for node in _history(value) if isinstance(node, Leaf)]


def matrix_of(value: Value, leaf: Leaf) -> Tensor:
    """Matrix of a value with respect to one of its leaves.

    Args:
        value: the value.
        leaf: the leaf.

    Returns:
        Float64 or complex128, one row an entry of the value, one column an entry of the leaf; kept for the next time.
    """
    n = math.prod(leaf.shape)
    if isinstance(value, Leaf):
        return torch.eye(n, dtype=torch.float64)
    if leaf not in value.matrices:
        steps = _downstream(value, leaf)
        basis = torch.eye(n, dtype=torch.float64).reshape(n, *leaf.shape)

        def image(direction: Tensor) -> Tensor:
            known: dict[Value, Tensor] = {leaf: direction}
            for step in steps:
                known[step] = step.linear(*(known[o] if o in known else _zeros(o) for o in step.operands))
            return known[value]

        columns = torch.func.vmap(image, chunk_size=_CHUNK)(basis)
        value.matrices[leaf] = columns.reshape(n, -1).T.contiguous()
    return value.matrices[leaf]


def constant_of(value: Value) -> Tensor:
    """What a value is when all its leaves are zero.

    Args:
        value: the value.

    Returns:
        The shape of the value.
    """
    known: dict[Value, Tensor] = {}
    for node in _history(value):
        known[node] = _zeros(node) if isinstance(node, Leaf) else node.full(*(known[o] for o in node.operands))
    return known[value]


def path_gain(value: Value, start: dict[Value, float], norm: Norm, *, tight: bool = False) -> float:
    """Product of norms along paths, added where paths meet: what a change of the leaves can do to the value.

    Args:
        value: the value.
        start: size of the change of each leaf; others do not change.
        norm: norm on all of them.
        tight: whether closer norms of single steps are worth their cost.

    Returns:
        The size of the change, from above.
    """
    known = dict(start)
    count = 0
    for node in _history(value):
        if isinstance(node, Leaf):
            continue
        present = [(k, known[o]) for k, o in enumerate(node.operands) if known.get(o)]
        if not present:
            continue
        gains = node.gains(tight)
        parts = [gains[k] * size for k, size in present]
        count += 2 * len(parts) + 4
        known[node] = _side_by_side(parts, norm) if node.disjoint else _on_top(parts)
    return known.get(value, 0.0) * (1 + gamma(count + 1, torch.float64))


def allowance(value: Value, leaf: Leaf, norm: Norm) -> float:
    """How far the computed matrix can be from the exact one, in the operator norm.

    Args:
        value: the value.
        leaf: the leaf.
        norm: norm on both.

    Returns:
        The bound of the header; infinite where it says nothing.
    """
    steps = [] if isinstance(value, Leaf) else _downstream(value, leaf)
    if not steps:
        return 0.0
    n = math.prod(leaf.shape)
    longest = max(max(math.prod(o.shape) for o in step.operands) for step in steps)
    x = len(steps) * gamma(4 * longest + 8, torch.float64) * longest**0.5
    if x >= 0.5:
        return math.inf
    columns = n**0.5 if isinstance(norm, Euclidean) else float(n) if isinstance(norm, Sup) else 1.0
    return x / (1 - x) * columns * path_gain(value, {leaf: 1.0}, norm)


def _on_top(parts: list[float]) -> float:
    return math.fsum(parts)


def _side_by_side(parts: list[float], norm: Norm) -> float:
    if isinstance(norm, Euclidean):
        return math.hypot(*parts)
    return max(parts) if isinstance(norm, Sup) else math.fsum(parts)


def _zeros(value: Value) -> Tensor:
    return torch.zeros(value.shape, dtype=torch.complex128 if value.is_complex else torch.float64)


def _history(value: Value) -> list[Value]:
    """Everything a value is computed from, oldest first, itself last.

    Returns:
        The values.
    """
    seen: set[Value] = {value}
    open_: list[Value] = [value]
    while open_:
        node = open_.pop()
        fresh: Iterable[Value] = () if isinstance(node, Leaf) else (o for o in node.operands if o not in seen)
        for operand in fresh:
            seen.add(operand)
            open_.append(operand)
    return sorted(seen, key=lambda node: node.index)


def _downstream(value: Affine, leaf: Leaf) -> list[Affine]:
    """Steps between a leaf and a value.

    Returns:
        The steps, oldest first.
    """
    reached: set[Value] = {leaf}
    steps: list[Affine] = []
    for node in _history(value):
        if isinstance(node, Affine) and any(o in reached for o in node.operands):
            reached.add(node)
            steps.append(node)
    return steps
