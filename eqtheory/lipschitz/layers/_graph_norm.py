r"""The norm of linear maps on graph signals: polynomial filters `Y = sum_k A^k X W_k` and messages between two kinds of nodes.

As a matrix the filter is `sum_k A^k (x) W_k^T`.

**One power.** `|A^k (x) W^T| = |A^k| |W^T|` in each of the three norms; exact for `k <= 1`, and for symmetric `A` in the
Euclidean norm, where `|A^k| = |A|^k`.

**Symmetric A, Euclidean norm.** In an orthonormal basis of eigenvectors the filter is `X -> X p(lambda_i)`,
`p(t) = sum_k t^k W_k`, so its norm is `max_i |p(lambda_i)|_2`. For `p` of degree one `t -> |p(t)|` is convex: only the two
extreme eigenvalues count, and the ends of an interval that holds the spectrum bound it from above. For higher degrees every
eigenvalue counts: a computed decomposition `Q L Q^T` with `|Q^T Q - I| <= d` has eigenvalues `l_i` within

    r = |A - Q L Q^T|_F + d max |l_i|

of those of `A` (Weyl; Ostrowski for the congruence), and `|p(t)| <= |p(l_i)| + r sum_k k R^{k-1} |W_k|` for `|t - l_i| <= r`,
`R = max |l_i| + r`.

**Nearly symmetric A**, as weights normalised in floating point are: with `H = (A + A^T) / 2` and `e = |A - H|_F` the filters differ
by at most `sum_k k R^{k-1} e |W_k|`, `R` above both norms.

**Sum and Sup.** Absolute row sums of the filter are at most `sum_k (|A|^k 1)_i c_k` with the absolute sums `c_k` of `W_k`;
equal for one power of a matrix without negative entries, and where different powers do not meet in one entry.

**Otherwise** small filters are written out, and large ones bounded by the triangle inequality, `sum_k |A|^k |W_k|`; the row
sum of the maximum of a symmetric matrix bounds its Euclidean norm, that of another does not.

**Two kinds of nodes.** `y = v U + A u W` on pairs `(v, u)`: `|[I (x) U^T, A (x) W^T]|_2^2 = max_i |U^T U + s_i^2 W^T W|_2`
over the singular values of `A` (and zero), which grows with `s_i`: the norm is that of the matrix with `U` above `|A|_2 W`,
exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eqtheory.bounds import Bracket
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound
from eqtheory.lipschitz.layers._adjacency import Adjacency, schur_bound
from eqtheory.lipschitz.layers._certified import U, bracket, dense_norm, dual, known_norm
from eqtheory.norms import Euclidean, Norm, Sum
from eqtheory.roundoff import gamma
from eqtheory.validate import require_finite

__all__ = ["bipartite_operator_norm", "graph_operator_norm"]

_STEPS = 60
_FEATURES = 4
_WRITTEN_OUT = 1024
_NEARLY = 1e-6  # a looser match would only give looser bounds


def graph_operator_norm(adjacency: Tensor, weights: Sequence[Tensor | None], *, norm: Norm | None = None) -> Bracket:
    """Bracket the operator norm of a polynomial graph filter `Y = sum_k A^k X W_k`.

    Args:
        adjacency: shape `(nodes, nodes)`, dense, COO (coalesced) or CSR; as it is used, so normalised if the layer normalises it.
        weights: `W_0, W_1, ...`, each `(features_in, features_out)`; `None` for powers that do not occur.
        norm: norm of all entries of `X` and `Y` together; Euclidean by default, Sum and Sup are known too.

    Returns:
        Both sides proved, and equal up to rounding where the header says exact. Cost: `O(nodes^3)` up to 2048 nodes,
        `O(entries)` per step of a power iteration beyond.

    Raises:
        InputError: no weights at all, or another norm.
        ShapeError: matrices that do not fit.

    Example:
        >>> import torch
        >>> path = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> round(graph_operator_norm(path, [torch.eye(2), torch.eye(2)]).upper.value, 9)
        2.0
    """
    chosen = known_norm(norm)
    A = Adjacency.of(adjacency)
    if A.shape[0] != A.shape[1]:
        raise ShapeError("adjacency", f"shape {A.shape}", "a square matrix", "use bipartite_operator_norm")
    powers = {k: _weight(f"weights[{k}]", W) for k, W in enumerate(weights) if W is not None}
    if not powers:
        raise InputError("weights", "no matrix", "at least one", "pass for example [None, W] for A X W")
    if len({tuple(W.shape) for W in powers.values()}) > 1:
        raise ShapeError("weights", str([tuple(W.shape) for W in powers.values()]), "equal shapes", "pad with zeros")
    upper, method = _upper(A, powers, chosen)
    if isinstance(chosen, Euclidean) and not A.is_symmetric:
        upper, method = min((upper, method), _nearly_symmetric(A, powers))
    return bracket((_lower(A, powers, chosen), upper), chosen, method)


def _nearly_symmetric(A: Adjacency, powers: dict[int, Tensor]) -> tuple[float, str]:
    H, gap = A.symmetric_part()
    size = max(schur_bound(A), schur_bound(H))
    if not gap <= _NEARLY * size:
        return float("inf"), ""
    upper, method = _upper(H, powers, Euclidean())
    lost = sum(k * size ** max(k - 1, 0) * _frobenius(W) for k, W in powers.items()) * gap
    return (upper + lost * (1 + gamma(4 * max(powers) + 16, torch.float64))) * (1 + 4 * U), f"{method}, symmetric part"


def _weight(name: str, W: Tensor) -> Tensor:
    if not isinstance(W, Tensor) or W.ndim != 2 or W.is_complex() or W.numel() == 0:
        came = f"shape {tuple(W.shape)}, {W.dtype}" if isinstance(W, Tensor) else type(W).__name__
        raise ShapeError(name, came, "a real matrix (features_in, features_out)", "pass layer.weight.T")
    require_finite(name, W, "repair it")
    return W.detach().to("cpu", torch.float64)


def _upper(A: Adjacency, powers: dict[int, Tensor], norm: Norm) -> tuple[float, str]:
    spectral = isinstance(norm, Euclidean) and A.is_symmetric
    if len(powers) > 1 and spectral and max(powers) == 1:
        ends = torch.stack([powers[0] + t * powers[1] for t in A.interval])
        sizes = torch.stack([powers[0].abs() + abs(t) * powers[1].abs() for t in A.interval])
        rounding = gamma(3, torch.float64) * torch.linalg.vector_norm(sizes.flatten(1), dim=1) * (1 + 1e-9)
        upper = float((matrix_norm_upper_bound(ends, Euclidean()) + rounding).amax()) * (1 + 4 * U)
        return upper, "convexity between the extreme eigenvalues"
    if not isinstance(norm, Euclidean):
        sums = _absolute_sums(A, powers, norm)
        if max(powers) and A.shape[0] * max(next(iter(powers.values())).shape) <= _WRITTEN_OUT:
            return min(sums, _written_out(A, powers, norm, sums)), "absolute sums of the dense matrix"
        return sums, "absolute sums, power by power"
    size = A.upper(norm) if set(powers) != {0} else 0.0
    total = sum(size**k * float(matrix_norm_upper_bound(W, norm)) for k, W in powers.items())
    triangle = total * (1 + gamma(4 * (max(powers) + len(powers) + 2), torch.float64))
    one = len(powers) == 1 and (max(powers) <= 1 or spectral)
    if spectral and len(powers) > 1 and A.is_small:
        return min(_by_eigenvalues(A, powers), triangle), "enclosed eigenvalues"
    if not one and A.shape[0] * max(next(iter(powers.values())).shape) <= _WRITTEN_OUT:
        return min(
            _written_out(A, powers, norm, _absolute_triangle(A, powers)), triangle
        ), "Cholesky test of the dense matrix"
    return triangle, "Kronecker product" if one else "triangle inequality"


def _absolute_sums(A: Adjacency, powers: dict[int, Tensor], norm: Norm) -> float:
    """The largest entry of `sum_k |A|^k 1 (x) c_k` with the absolute sums `c_k` of `W_k` that belong to one output (sup) or input (l1).

    Returns:
        The bound.
    """
    columns = isinstance(norm, Sum)
    reached = torch.ones(A.shape[0], dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for k in range(max(powers) + 1):
        if k:
            reached = A.times(reached, transposed=columns, absolute=True)
        if k in powers:
            total = total + reached[:, None] * powers[k].abs().sum(1 if columns else 0)
    roundings = max(powers) * (A.most_terms + 2) + max(next(iter(powers.values())).shape) + len(powers) + 4
    return float(total.amax()) * (1 + gamma(roundings, torch.float64))


def _absolute_triangle(A: Adjacency, powers: dict[int, Tensor]) -> float:
    size = schur_bound(A)  # bounds the norm of |A| too
    return sum(size**k * _frobenius(W) * (1 + gamma(4 * k + 8, torch.float64)) for k, W in powers.items()) * (
        1 + 64 * U
    )


def _written_out(A: Adjacency, powers: dict[int, Tensor], norm: Norm, absolute: float) -> float:
    """The norm of the Kronecker sum as one dense matrix, whose entries err by `gamma` of the same sum of absolute values.

    Returns:
        The bound.
    """
    power, whole = torch.eye(A.shape[0], dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for k in range(max(powers) + 1):
        power = A.times(power) if k else power
        if k in powers:
            whole = whole + _kronecker(power, powers[k].mT)
    relative = gamma(max(powers) * (A.most_terms + 2) + len(powers) + 4, torch.float64)
    return (dense_norm(whole, norm)[1] + relative * absolute) * (1 + 4 * U)


def _kronecker(A: Tensor, B: Tensor) -> Tensor:
    """`A (x) B`, whatever the strides (torch's own refuses transposed vectors)."""
    return (A[:, None, :, None] * B[None, :, None, :]).reshape(A.shape[0] * B.shape[0], A.shape[1] * B.shape[1])


def _by_eigenvalues(A: Adjacency, powers: dict[int, Tensor]) -> float:
    M = A.dense
    n = M.shape[0]
    values, Q = torch.linalg.eigh(M)
    peak = float(values.abs().amax())
    square = float((Q * Q).sum()) * (1 + gamma(n * n + 1, torch.float64))
    defect = _frobenius(Q.mT @ Q - torch.eye(n, dtype=Q.dtype)) + gamma(n + 2, torch.float64) * square
    residual = _frobenius(M - (Q * values) @ Q.mT) + gamma(n + 3, torch.float64) * (peak * square + _frobenius(M))
    radius = (residual + defect * peak) * (1 + 8 * U)
    reach = peak + radius
    p = torch.zeros(n, *next(iter(powers.values())).shape, dtype=torch.float64)
    slope = rounding = 0.0
    for k, W in powers.items():
        p = p + (values**k)[:, None, None] * W
        size = float(matrix_norm_upper_bound(W, Euclidean()))
        slope += k * reach ** max(k - 1, 0) * size
        rounding += reach**k * _frobenius(W) * gamma(2 * k + len(powers) + 4, torch.float64)
    top = float(matrix_norm_upper_bound(p, Euclidean()).amax())
    return (top + radius * slope + rounding) * (1 + gamma(16 * (max(powers) + 2), torch.float64))


def _frobenius(X: Tensor) -> float:
    return float(torch.linalg.vector_norm(X)) * (1 + gamma(X.numel() + 2, torch.float64))


def _filter(
    A: Adjacency, powers: dict[int, Tensor], X: Tensor, *, absolute: bool = False, adjoint: bool = False
) -> Tensor:
    out, carried = None, X
    for k in range(max(powers) + 1):
        if k:
            carried = A.times(carried, transposed=adjoint, absolute=absolute)
        if k in powers:
            W = powers[k].mT if adjoint else powers[k]
            term = carried @ (W.abs() if absolute else W)
            out = term if out is None else out + term
    return X if out is None else out


def _lower(A: Adjacency, powers: dict[int, Tensor], norm: Norm) -> float:
    """Image of a vector that ascent on the ratio of the norms found.

    Returns:
        The lower side.
    """
    f, g = next(iter(powers.values())).shape
    terms = max(powers) * (A.most_terms + 1) + f + len(powers) + 2
    slack = gamma(A.shape[0] * max(f, g) + 8, torch.float64)
    best = 0.0
    for start in _starts(A, powers, norm):
        X, seen = start, 0.0
        for _ in range(_STEPS):
            Y = _filter(A, powers, X)
            error = gamma(terms, torch.float64) * float(
                norm(_filter(A, powers, X.abs(), absolute=True).flatten()[None])
            )
            length = float(norm(X.flatten()[None])) * (1 + slack)
            found = (float(norm(Y.flatten()[None])) * (1 - slack) - error * (1 + slack)) / length if length > 0 else 0.0
            if found <= seen * (1 + 1e-15):
                break
            seen = found
            pulled = _filter(A, powers, norm.subgradient(Y.flatten()[None]).reshape(Y.shape), adjoint=True)
            X = norm.aligned(pulled.flatten()[None]).reshape(X.shape)
        best = max(best, seen * (1 - 4 * U))
    return best


def _starts(A: Adjacency, powers: dict[int, Tensor], norm: Norm) -> list[Tensor]:
    """Where to begin: anywhere, and for sums at every feature of the node with the largest absolute sum.

    Returns:
        Signals.
    """
    f, g = next(iter(powers.values())).shape
    anywhere = torch.randn(A.shape[0], f, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if isinstance(norm, Euclidean):
        return [anywhere]
    columns = isinstance(norm, Sum)
    ones = torch.ones(A.shape[0], dtype=torch.float64)
    node = int(A.times(ones, transposed=columns, absolute=True).argmax())
    totals = torch.as_tensor(sum(W.abs().sum(1 if columns else 0) for W in powers.values()))
    starts = [anywhere]
    for feature in totals.topk(min(_FEATURES, totals.numel())).indices:
        probe = torch.zeros(A.shape[0], f if columns else g, dtype=torch.float64)
        probe[node, feature] = 1.0
        row = probe if columns else _filter(A, powers, probe, adjoint=True)
        starts.append(probe if columns else torch.where(row >= 0, 1.0, -1.0).to(torch.float64))
    return starts


def bipartite_operator_norm(
    adjacency: Tensor, own_weight: Tensor, neighbour_weight: Tensor, *, norm: Norm | None = None
) -> Bracket:
    """Bracket the norm of message passing `y = v U + A u W` from pairs `(v, u)` of signals on two kinds of nodes.

    Args:
        adjacency: shape `(receivers, senders)`, dense, COO (coalesced) or CSR.
        own_weight: `U`, shape `(features of v, features_out)`.
        neighbour_weight: `W`, shape `(features of u, features_out)`.
        norm: norm of all entries of the pair, and of `y`; Euclidean by default, Sum and Sup are known too.

    Returns:
        Both sides proved; the upper one is exact up to rounding where the norm of `A` is.

    Raises:
        ShapeError: matrices that do not fit.

    Example:
        >>> import torch
        >>> star = torch.ones(1, 4)  # one receiver, four senders: norm 2
        >>> round(bipartite_operator_norm(star, torch.zeros(1, 1), torch.ones(1, 1)).upper.value, 9)
        2.0
    """
    chosen = known_norm(norm)
    A, V, W = Adjacency.of(adjacency), _weight("own_weight", own_weight), _weight("neighbour_weight", neighbour_weight)
    if V.shape[1] != W.shape[1]:
        raise ShapeError("neighbour_weight", f"shape {tuple(W.shape)}", f"(features, {V.shape[1]})", "match own_weight")
    size = A.upper(chosen)
    if isinstance(chosen, Sum):  # one input is of one kind: the larger of the two kinds of columns
        parts = [float(matrix_norm_upper_bound(M, dual(chosen))) for M in (V, W)]
        upper = max(parts[0], size * parts[1]) * (1 + 4 * U)
    else:
        stacked = torch.cat([V, size * W])
        upper = float(matrix_norm_upper_bound(stacked, dual(chosen))) * (1 + 4 * U * max(stacked.shape) ** 0.5)
    joint = _joined(A)
    lower = _lower(joint, {0: torch.cat([V, 0 * W]), 1: torch.cat([0 * V, W])}, chosen)
    return bracket((lower, upper), chosen, "monotone in the singular values of the adjacency matrix")


def _joined(A: Adjacency) -> Adjacency:
    """Senders as further nodes that receive nothing. Their own outputs are a copy of `v U`, whose norm is not the larger one.

    Returns:
        A square matrix.
    """
    n = A.shape[0] + A.shape[1]
    return Adjacency(A.rows, A.columns + A.shape[0], A.values, (n, n))
