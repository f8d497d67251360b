r"""The norm of a derivative at given points, from products with it alone.

**Euclidean.** Golub and Kahan's bidiagonalisation, for all samples at once: from a unit vector `v_1`,

    alpha_j u_j = J v_j - beta_{j-1} u_{j-1},     beta_j v_{j+1} = J^T u_j - alpha_j v_j,

with every new vector made orthogonal to all before it. With `U`, `V` the vectors so far and `B` upper bidiagonal, `J V = U B`.
A singular triple `(s, p, q)` of `B` gives the unit vector `v = V q` with `J v = s U p` and `J^T J v - s^2 v = s beta_j p_j
v_{j+1}`: the residual is known at no cost, but no singular value of `J` is promised to lie below `s`; so `|J v|` is a lower
bound, whatever it says.

**Other norms.** `|J v|` is convex in `v`, so with `u` the functional that measures `J v` the next `v = aligned(J^T u)` is at
least as good: the ascent of Boyd (1974) and Hager (1984). It stops at local maxima; where the Jacobian is small enough to be
written down it is, and the norm is that of the matrix.

References:
    Golub and Kahan 1965; Boyd 1974, The power method for l^p norms; Hager 1984; Higham 2002, chapter 15.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from eqtheory.bounds import Bound
from eqtheory.errors import NonFiniteError
from eqtheory.lipschitz._matrix_norm import operator_norm
from eqtheory.lipschitz._precision import watched
from eqtheory.lipschitz._witness import Map, Witnessed, labelled, values_of, watched_values
from eqtheory.lipschitz.search._kinks import Lowered, Nearby, lowered_at_kinks
from eqtheory.nests import spread
from eqtheory.norms import Euclidean, Norm
from eqtheory.operators import Linearization
from eqtheory.validate import batch_of, count, positive

__all__ = ["dense_jacobian", "exact_jacobian_norm", "jacobian_norm", "local_norms"]

_ROUNDED = (
    "as steep at the points as the pairs next to them by which norms of derivatives are lowered",
    "derivatives and evaluations err by at most 64 unit roundoffs (of the coarsest type inside), or as declared",
)
_RESTARTS = 6
_ASCENTS = 8
_WRITTEN_DOWN = 512
"""Up to this many coordinates the Jacobian is written down for norms whose ascent can stop early."""
_ENTRIES = 1 << 25
"""All Jacobians of a batch together, where they are written down, have at most so many entries."""


def jacobian_norm(
    function: Map,
    x: Tensor,
    *,
    norm: Norm | None = None,
    output_norm: Norm | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 64,
    generator: Generator | None = None,
) -> Witnessed:
    """Norm of the derivative at each point, from below.

    Args:
        function: the map, each sample by itself, differentiable twice by autograd.
        x: interior points of the domain, shape `(batch, ...)`.
        norm: norm on the arguments; Euclidean by default.
        output_norm: norm on the values; `norm` by default.
        tolerance: a sample stops when its residual is at most this multiple of its value.
        max_iterations: products with the Jacobian and as many with its transpose.
        generator: of the first vector; the same one every time where `None`.

    Returns:
        Lower bounds on the local Lipschitz constant at each point, with the directions and residuals.

    Raises:
        InputError: the norm does not know its dual.
        NonFiniteError: a value or a derivative is not finite.

    Example:
        >>> import torch
        >>> A = torch.tensor([[3.0, 0.0], [4.0, 0.0]])
        >>> round(jacobian_norm(lambda x: x @ A.T, torch.zeros(1, 2)).worst().value, 4)
        5.0
    """
    x = batch_of("x", x).detach()
    positive("tolerance", tolerance)
    count("max_iterations", max_iterations, "pass for example max_iterations=64")
    chosen = norm or Euclidean()
    values_of(function, x)
    found = local_norms(
        function,
        x,
        chosen,
        output_norm or chosen,
        tolerance=tolerance,
        max_iterations=max_iterations,
        generator=generator,
    )
    bad = torch.isnan(found.values)
    if bool(bad.any()):
        where = f"a derivative that is not finite at sample {int(bad.nonzero()[0])}"
        raise NonFiniteError("function", where, "finite derivatives at x", "move the samples off singular points")
    return found


def local_norms(
    function: Map,
    x: Tensor,
    norm: Norm,
    output_norm: Norm,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 64,
    generator: Generator | None = None,
    near: Nearby | None = None,
) -> Witnessed:
    """`jacobian_norm` for searches, which go on where a derivative is not finite.

    Args:
        function: the map.
        x: points, shape `(batch, ...)`.
        norm: norm on the arguments.
        output_norm: norm on the values.
        tolerance: a sample stops when its residual is at most this multiple of its value.
        max_iterations: products with the Jacobian and as many with its transpose.
        generator: of the first vectors.
        near: rounding, and where points may be, for pairs next to the points; the norms only where `None`.

    Returns:
        The same, NaN at samples whose derivative is not finite.
    """
    if torch.is_inference_mode_enabled():  # nothing is differentiated there
        with torch.inference_mode(mode=False):
            return local_norms(
                function,
                x.clone(),
                norm,
                output_norm,
                tolerance=tolerance,
                max_iterations=max_iterations,
                generator=generator,
                near=near,
            )
    with torch.no_grad():
        values, unit = watched(function, x)
    source = generator or torch.Generator(device=x.device).manual_seed(0)
    at = Linearization(lambda y, _: function(y), x, None)
    if isinstance(norm, Euclidean) and isinstance(output_norm, Euclidean):
        found = _lanczos(at, x, values, tolerance, max_iterations, source)
    elif _fits(x, values):
        found = _written_down(at, x, values, norm, output_norm)
    else:
        found = _ascent(at, x, norm, output_norm, source)
    if found.direction is None:  # never: all three know one
        return found
    lowered = lowered_at_kinks(function, x, found.direction, found.values, near or Nearby(norm, output_norm), unit)
    bound = replace(found.bound, value=lowered.size, assumptions=(*found.bound.assumptions, *lowered.assumptions))
    return replace(found, bound=bound, evaluations=found.evaluations + lowered.evaluations)


def _fits(x: Tensor, values: Tensor) -> bool:
    n, m = x[0].numel(), values[0].numel()
    return min(n, m) <= _WRITTEN_DOWN and x.shape[0] * n * m <= _ENTRIES


def dense_jacobian(function: Map, x: Tensor) -> Tensor:
    """The derivatives as matrices.

    Args:
        function: the map, each sample by itself.
        x: points, shape `(batch, ...)`.

    Returns:
        Shape `(batch, m, n)`, `m` and `n` the numbers of entries of a value and of a point. Cost: `min(m, n)` products.
    """
    if torch.is_inference_mode_enabled():  # nothing is differentiated there
        with torch.inference_mode(mode=False):
            return dense_jacobian(function, x.clone())
    values = values_of(function, batch_of("x", x))
    return _dense(Linearization(lambda y, _: function(y), x, None), x, values)


def exact_jacobian_norm(
    function: Map, x: Tensor, *, norm: Norm | None = None, output_norm: Norm | None = None
) -> Bound:
    """Norm of the derivative at each point, the whole matrix being written down.

    Args:
        function: the map, each sample by itself.
        x: points, shape `(batch, ...)`.
        norm: norm on the arguments; Euclidean by default.
        output_norm: norm on the values; `norm` by default.

    Returns:
        The norm of the Jacobian as computed, a lower bound on the local Lipschitz constant and equal to it where the map is
        continuously differentiable and no norm is a block sum. Cost: `min(m, n)` products and a decomposition.

    Raises:
        NonFiniteError: a value or a derivative is not finite.
    """
    if torch.is_inference_mode_enabled():  # nothing is differentiated there
        with torch.inference_mode(mode=False):
            return exact_jacobian_norm(function, x.clone(), norm=norm, output_norm=output_norm)
    chosen = norm or Euclidean()
    out = output_norm or chosen
    near, found = Nearby(chosen, out), []
    x = batch_of("x", x).detach()
    values, unit = watched_values(function, x)
    room = max(1, _ENTRIES // max(1, x[0].numel() * values[0].numel()))
    for rows in torch.split(torch.arange(x.shape[0], device=x.device), room):
        at, image = x[rows], values[rows]
        local = _written_down(Linearization(lambda y, _: function(y), at, None), at, image, chosen, out)
        if bool(torch.isnan(local.values).any()):
            raise NonFiniteError("function", "a derivative that is not finite", "finite derivatives at x", "move x")
        v = torch.zeros_like(at) if local.direction is None else local.direction
        found.append(lowered_at_kinks(function, at, v, local.values, near, unit))
    size, unjudged = torch.cat([part.size for part in found]), torch.cat([part.unjudged for part in found])
    rests_on = (*_ROUNDED, *Lowered(size, unjudged, 0).assumptions)
    return labelled(size, "Jacobian written down", chosen, out, *rests_on)


def _dense(at: Linearization, x: Tensor, values: Tensor) -> Tensor:
    batch, n, m = x.shape[0], x[0].numel(), values[0].numel()
    rows = m <= n
    like, product = (values, at.pull) if rows else (x, at.push)
    parts = []
    for k in range(m if rows else n):
        unit = torch.zeros(batch, like[0].numel(), dtype=like.dtype, device=like.device)
        unit[:, k] = 1
        parts.append(product(unit.reshape(like.shape)).reshape(batch, -1))
    return torch.stack(parts, dim=1 if rows else 2)


def _written_down(at: Linearization, x: Tensor, values: Tensor, norm: Norm, out: Norm) -> Witnessed:
    """The norm of the matrix, and a direction on which it is large.

    Returns:
        The bounds with directions.
    """
    J = _dense(at, x, values)
    good = torch.isfinite(J).flatten(1).all(dim=1)
    J = torch.where(spread(good, J), J, 0.0)
    size = operator_norm(J, norm=norm, output_norm=out).lower.value.to(x.dtype)
    bound = labelled(torch.where(good, size, torch.nan), "Jacobian written down", norm, out, *_ROUNDED)
    v = _largest_direction(J, x, values, norm, out)
    return Witnessed(bound, x, direction=v, evaluations=1 + min(J.shape[1:]))


def _largest_direction(J: Tensor, x: Tensor, values: Tensor, norm: Norm, out: Norm) -> Tensor:
    """The best of the basis vectors, the vectors aligned with rows, and the leading singular vector.

    Returns:
        Vectors of the shape of `x`.
    """
    batch, m, n = J.shape

    def images(v: Tensor) -> Tensor:
        return out((J @ v.unsqueeze(-1)).reshape(values.shape)) / norm(v.reshape(x.shape))

    def rows_of_norm(t: Tensor, kind: Norm, like: Tensor) -> Tensor:
        return kind(t.reshape(-1, *like.shape[1:])).reshape(batch, -1)

    # The size of an output entry times the dual norm of its row, and the size of a column over that of its input entry.
    aligned = norm.aligned(J.reshape(batch * m, *x.shape[1:])).reshape(batch, m, n)
    units = torch.eye(m, dtype=J.dtype, device=J.device).expand(batch, m, m).contiguous()
    row = ((J * aligned).sum(2) * rows_of_norm(units, out, values)).argmax(1)
    basis = torch.eye(n, dtype=J.dtype, device=J.device).expand(batch, n, n).contiguous()
    columns = rows_of_norm(J.mT.contiguous(), out, values) / rows_of_norm(basis, norm, x)
    rank = torch.arange(batch, device=J.device)
    candidates = [basis[rank, columns.argmax(1)], aligned[rank, row]]
    candidates.append(torch.linalg.svd(_single(J), full_matrices=False)[2][:, 0].to(J.dtype))
    best, size = candidates[0], images(candidates[0])
    for v in candidates[1:]:
        found = images(v).nan_to_num(nan=0.0)
        best = torch.where((found > size).unsqueeze(1), v, best)
        size = torch.maximum(found, size)
    return best.reshape(x.shape)


def _lanczos(
    at: Linearization, x: Tensor, values: Tensor, tolerance: float, max_iterations: int, source: Generator
) -> Witnessed:
    batch, n, m, length = x.shape[0], x[0].numel(), values[0].numel(), Euclidean()
    # Bidiagonalisation ends with n vectors on the left or m + 1 on the right: A = U B V^T with B of m rows and m + 1 columns.
    steps = min(max_iterations, n, m + 1)
    good = torch.ones(batch, dtype=torch.bool, device=x.device)

    def usable(t: Tensor) -> Tensor:
        nonlocal good
        good = good & torch.isfinite(t).all(dim=1)
        return torch.where(good.unsqueeze(1), t, 0.0)

    def push(v: Tensor) -> Tensor:
        return usable(at.push(v.reshape(x.shape)).reshape(batch, m))

    def pull(u: Tensor) -> Tensor:
        return usable(at.pull(u.reshape(values.shape)).reshape(batch, n))

    # One start for all, and every sample keeps what it had when it settled: nobody's value depends on its mates.
    start = torch.randn(1, n, generator=source, dtype=x.dtype, device=x.device).expand(batch, n)
    best, moving = torch.zeros_like(start), torch.ones(batch, dtype=torch.bool, device=x.device)
    V: list[Tensor] = [Euclidean().aligned(start)]
    U: list[Tensor] = []
    alphas: list[Tensor] = []
    betas: list[Tensor] = []
    done = 0
    for j in range(steps):
        u = _orthogonal(push(V[j]), U)
        alphas.append(length(u))
        U.append(_divided(u, alphas[-1]))
        v = _orthogonal(pull(U[j]), V)
        betas.append(length(v))
        done = j + 1
        if done == steps or done % 4 == 0:
            left, values_of_B, right = torch.linalg.svd(_bidiagonal(alphas, betas))
            found = torch.einsum("bj,jbn->bn", right[:, 0].to(x.dtype), torch.stack(V))
            best = torch.where(moving.unsqueeze(1), found, best)
            moving = moving & (betas[-1] * left[:, -1, 0].abs() > tolerance * values_of_B[:, 0])
            if done == steps or not bool(moving.any()):
                break
        V.append(_divided(v, betas[-1]))
    best = _divided(best, length(best))
    image = push(best)
    size = length(image)
    # (J^T J v - s^2 v) / s at the unit vector J v / s: squares of steep slopes leave the range. It says nothing of the bound.
    pulled = at.pull(_divided(image, size).reshape(values.shape)).reshape(batch, n)
    residual = length(pulled - size.unsqueeze(1) * best)
    size = torch.where(good, size, torch.nan)
    bound = labelled(size, f"{done} steps of bidiagonalisation", Euclidean(), Euclidean(), *_ROUNDED)
    return Witnessed(
        bound,
        x,
        direction=best.reshape(x.shape),
        residual=residual,
        evaluations=2 + 2 * (done + 1),
    )


def _orthogonal(v: Tensor, basis: list[Tensor]) -> Tensor:
    """What is left of vectors outside a basis; twice is enough (Kahan, Parlett).

    Returns:
        The shape of `v`.
    """
    if not basis:
        return v
    Q = torch.stack(basis)
    for _ in range(2):
        v = v - torch.einsum("jb,jbn->bn", torch.einsum("jbn,bn->jb", Q, v), Q)
    return v


def _divided(v: Tensor, size: Tensor) -> Tensor:
    return v / torch.where(size > 0, size, 1.0).unsqueeze(1)


def _bidiagonal(alphas: list[Tensor], betas: list[Tensor]) -> Tensor:
    B = torch.diag_embed(_single(torch.stack(alphas, dim=1)))
    if len(alphas) > 1:
        B = B + torch.diag_embed(_single(torch.stack(betas[: len(alphas) - 1], dim=1)), offset=1)
    return B


def _single(t: Tensor) -> Tensor:
    # Decompositions do not exist in half precision.
    return t.float() if t.dtype in {torch.float16, torch.bfloat16} else t


def _ascent(at: Linearization, x: Tensor, norm: Norm, out: Norm, source: Generator) -> Witnessed:
    best = torch.zeros(x.shape[0], dtype=x.dtype, device=x.device)
    along = torch.zeros_like(x)
    good = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
    for _ in range(_RESTARTS):
        start = torch.randn((1, *x.shape[1:]), generator=source, dtype=x.dtype, device=x.device)
        v = norm.aligned(start.expand(x.shape))  # the same for all, so that nobody's value depends on its mates
        for _ in range(_ASCENTS):
            image = at.push(v)
            size = out(image) / norm(v)
            good &= torch.isfinite(size)
            better = (size > best).reshape(-1, *[1] * (x.ndim - 1))
            best, along = torch.maximum(size, best), torch.where(better, v, along)
            v = norm.aligned(at.pull(out.subgradient(image)))
    best = torch.where(good, best, torch.nan)
    bound = labelled(best, f"ascent from {_RESTARTS} directions", norm, out, *_ROUNDED)
    return Witnessed(bound, x, direction=along, evaluations=2 + 2 * _RESTARTS * _ASCENTS)
