"""The solution of a linear program as a function of its data, where it is unique and non-degenerate.

Standard form `min c.y, A y = b, y >= 0` with fixed costs `c` and `x = (A, b)`, rows of `A` first. A basis `B` of `m` columns is
optimal and non-degenerate if `y_B = A_B^-1 b > 0` and the reduced costs `z_N = c_N - A_N^T p`, `p = A_B^-T c_B`, are positive. Then
it is the only such basis, the solution is `(y_B, 0)`, and both stay positive nearby: the map is smooth there (T12).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple, final

import torch
from torch import Generator, Tensor

from eqtheory.errors import InputError
from eqtheory.operators import OncePerInput
from eqtheory.targets._arithmetic import U, lowered, raised
from eqtheory.targets._base import Target
from eqtheory.targets._domains import log_uniform, mixture, normal, orthogonal, signs
from eqtheory.targets.maps.matrices import singular_value_error

__all__ = ["LinearProgramMap"]

_MOST_BASES = 1000
"""All bases are tried, so their number must stay small."""


class _Optimum(NamedTuple):
    """The optimal basis of each program, in float64."""

    found: Tensor  # whether one is certified, (batch,)
    basis: Tensor  # its columns, (batch, m)
    rest: Tensor  # the others, (batch, n - m)
    smallest: Tensor  # lower bound on the smallest singular value of A_B
    value: Tensor  # y_B
    value_margin: Tensor  # min y_B, less its rounding
    cost_margin: Tensor  # min z_N, less its rounding


@final
class LinearProgramMap(Target):
    """The solution `y` of `min c.y, A y = b, y >= 0` at data `x = (A, b)` with a non-degenerate optimal basis.

    `dy_B = A_B^-1 (db - dA_B y_B)` and `|db - dA_B y_B| <= sqrt(1 + |y_B|^2) |(dA, db)|`, attained in every direction: the local
    modulus is `sqrt(1 + |y_B|^2) / s` with `s = s_min(A_B)`. On a ball, as long as `B` stays optimal, `s >= S = s - r`,
    `|y_B| <= Y = (|b| + r)/S` and `|p| <= P = |c_B|/S`. So `y_B` has slope at most `L_y = sqrt(1 + Y^2)/S`, and from
    `dz_N = -dA_N^T p - A_N^T dp`, `dp = -A_B^-T dA_B^T p`, with `N = |A_N| + r`, the reduced costs have slope at most
    `L_z = P sqrt(1 + (N/S)^2)` (Cauchy-Schwarz in `|dA_N|, |dA_B|`). If `min y_B - r L_y > 0` and `min z_N - r L_z > 0`, both stay
    positive along every segment from the centre: `B` is optimal on the whole ball, which is convex and lies in the domain. Then
    `|y_B| <= |y_B(x)| + r L_y` sharpens `Y`. Otherwise nothing finite is claimed.

    Args:
        costs: `c`, at least one more entry than `rows`.
        rows: `m`, the number of equations.
    """

    domain = "data (A, b) with a non-degenerate optimal basis"
    remedy = "the program is infeasible, unbounded or degenerate up to rounding; perturb A and b"

    def __init__(self, costs: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0), rows: int = 2) -> None:
        n = len(costs)
        if not 1 <= rows < n:
            raise InputError(
                "rows", str(rows), f"1 <= rows < {n}, the number of costs", "use fewer equations than variables"
            )
        choices = list(combinations(range(n), rows))
        if len(choices) > _MOST_BASES:
            raise InputError("costs", f"{len(choices)} bases", f"at most {_MOST_BASES}", "take a smaller program")
        if not all(cost > 0 for cost in costs):
            raise InputError(
                "costs", str(costs), "positive costs", "with them a column of zeros never enters the basis"
            )
        self.costs = costs
        self.rows = rows
        self.name = f"linear program ({rows} equations, {n} variables)"
        self.formula = f"argmin of c.y, A y = b, y >= 0, x = (A, b), A {rows} x {n}, at a non-degenerate optimal basis"
        self.input_shape = (rows * n + rows,)
        self.output_shape = (n,)
        self.evaluation_ulps = 32.0 * rows
        self._optimum = OncePerInput(self._find_optimum)
        self._bases = torch.tensor(choices)
        self._others = torch.tensor([[j for j in range(n) if j not in choice] for choice in choices])

    def _data(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m, n = self.rows, len(self.costs)
        costs = torch.tensor(self.costs, dtype=x.dtype, device=x.device)
        return x[:, : m * n].reshape(-1, m, n), x[:, m * n :], costs

    @torch.no_grad()
    def _find_optimum(self, x: Tensor) -> _Optimum:
        matrix, right, costs = self._data(x)
        bases, others = self._bases.to(x.device), self._others.to(x.device)
        inner = matrix[:, :, bases].movedim(2, 1)  # (batch, bases, m, m)
        outer = matrix[:, :, others].movedim(2, 1)
        s = torch.linalg.svdvals(inner)
        smallest = s[..., -1] - singular_value_error(s[..., 0], self.rows)
        regular = smallest > 0
        # Singular bases are replaced by the identity, so that one of them does not stop the batch.
        unit = torch.eye(self.rows, dtype=x.dtype, device=x.device)
        safe = torch.where(regular[..., None, None], inner, unit)
        value = torch.linalg.solve(safe, right[:, None, :, None].expand(-1, len(bases), -1, -1)).squeeze(-1)
        price = torch.linalg.solve(safe.mT, costs[bases][..., None].expand(x.shape[0], -1, -1, -1))
        reduced = costs[others] - (outer.mT @ price).squeeze(-1)
        # Forward error of a solve: a few m U cond |solution|; the margins are lowered by that.
        condition = torch.where(regular, s[..., 0] / smallest, torch.ones_like(smallest))
        grain = 32.0 * self.rows * U * condition
        size = torch.linalg.matrix_norm(outer) * torch.linalg.vector_norm(price, dim=(-2, -1))
        value_margin = value.amin(dim=-1) - grain * torch.linalg.vector_norm(value, dim=-1)
        cost_margin = reduced.amin(dim=-1) - grain * (costs.abs().amax() + size)
        optimal = regular & (value_margin > 0) & (cost_margin > 0)
        which = optimal.long().argmax(dim=1)
        rows = torch.arange(x.shape[0], device=x.device)
        at = (rows, which)
        return _Optimum(
            optimal.any(dim=1), bases[which], others[which], smallest[at], value[at], value_margin[at], cost_margin[at]
        )

    def _columns(self, matrix: Tensor, which: Tensor) -> Tensor:
        return torch.gather(matrix, 2, which.unsqueeze(1).expand(-1, self.rows, -1))

    def _contains(self, x: Tensor) -> Tensor:
        return self._optimum(x).found

    def _value(self, x: Tensor) -> Tensor:
        basis = self._optimum(x).basis
        matrix, right, _ = self._data(x)
        value = torch.linalg.solve(self._columns(matrix, basis), right.unsqueeze(2)).squeeze(2)
        return torch.zeros(x.shape[0], len(self.costs), dtype=x.dtype, device=x.device).scatter(1, basis, value)

    def _error_scale(self, x: Tensor, value: Tensor) -> Tensor:
        best = self._optimum(x)
        largest = torch.linalg.matrix_norm(self._columns(self._data(x)[0], best.basis), ord=2)
        return self.output_norm(value) * largest / best.smallest

    def _modulus(self, x: Tensor) -> Tensor:
        best = self._optimum(x)
        s = torch.linalg.svdvals(self._columns(self._data(x)[0], best.basis))[:, -1]
        size = torch.linalg.vector_norm(best.value, dim=1)
        return torch.hypot(size, torch.ones_like(size)) / s

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        best = self._optimum(x)
        matrix, right, costs = self._data(x)
        one = torch.ones_like(r)
        left = (best.smallest - r).clamp_min(0.0)
        largest = (torch.linalg.vector_norm(right, dim=1) + r) / left
        slope = torch.hypot(one, largest) / left
        outer = torch.linalg.matrix_norm(self._columns(matrix, best.rest), ord=2) + r
        price = torch.linalg.vector_norm(costs[best.basis], dim=1) / left
        cost_slope = price * torch.hypot(one, outer / left)
        stays = (lowered(best.value_margin, r, slope) > 0) & (lowered(best.cost_margin, r, cost_slope) > 0)
        # The computed solution errs by the difference of its least entry and the margin that was left of it.
        size = torch.linalg.vector_norm(best.value, dim=1) + (best.value.amin(dim=1) - best.value_margin)
        sup = torch.minimum(largest, raised(size, r, slope))
        infinite = torch.full_like(r, torch.inf)
        return torch.where(stays, sup, infinite), torch.where(stays, torch.hypot(one, sup) / left, infinite)

    def _draw(self, n: int, generator: Generator) -> Tensor:
        # A basis and its solution first, then columns outside it with prescribed reduced costs z: moving a column along the
        # prices, a <- a + p (c - a.p - z)/|p|^2, makes c - a.p equal to z.
        m, k = self.rows, len(self.costs)
        costs = torch.tensor(self.costs, dtype=torch.float64, device=generator.device)
        order = torch.argsort(normal((n, k), generator), dim=1)
        basis, rest = order[:, :m], order[:, m:]
        spectrum = torch.stack([log_uniform(n, 0.3, 3, generator) for _ in range(m)], dim=1)
        spectrum[:, -1] = mixture(generator, spectrum[:, -1], log_uniform(n, 1e-4, 1, generator))
        inner = orthogonal(n, m, generator) @ torch.diag_embed(spectrum) @ orthogonal(n, m, generator)
        value = torch.stack([log_uniform(n, 1e-3, 10, generator) for _ in range(m)], dim=1)
        price = torch.linalg.solve(inner.mT, costs[basis].unsqueeze(2))
        outer = normal((n, m, k - m), generator)
        wanted = torch.stack([log_uniform(n, 1e-3, 10, generator) for _ in range(k - m)], dim=1).unsqueeze(1)
        miss = costs[rest].unsqueeze(1) - (price * outer).sum(dim=1, keepdim=True) - wanted
        outer = outer + price * miss / (price * price).sum(dim=1, keepdim=True)
        matrix = torch.cat([inner, outer], dim=2)
        back = torch.argsort(order, dim=1)
        matrix = torch.gather(matrix, 2, back.unsqueeze(1).expand(-1, m, -1))
        flip = signs(n * m, generator).reshape(n, m, 1)  # equations may be multiplied by -1
        right = (inner @ value.unsqueeze(2)) * flip
        return torch.cat([(matrix * flip).flatten(1), right.squeeze(2)], dim=1)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        # Columns outside the first m are zero, so their reduced costs are the (positive) costs themselves.
        m, n = self.rows, len(self.costs)
        out = []
        for step in (sympy.Integer(1), sympy.Rational(1, 2), sympy.Rational(1, 2**20)):
            rows = [[sympy.Integer(int(i == j)) if i >= j else step for j in range(m)] for i in range(m)]
            rows[-1][-1] = step
            inner, value = sympy.Matrix(rows), sympy.Matrix(list(range(1, m + 1)))
            entries = [inner[i, j] if j < m else sympy.Integer(0) for i in range(m) for j in range(n)]
            out.append(((*entries, *(inner * value)), (*value, *[sympy.Integer(0)] * (n - m))))
        return tuple(out)

    def _reference(self, mp: Any, x: Any) -> Any:
        # The cheapest of all feasible vertices: no dual variables, no tolerance.
        m, n = self.rows, len(self.costs)
        best, best_cost = None, mp.inf
        for choice in combinations(range(n), m):
            inner = mp.matrix([[x[i * n + j] for j in choice] for i in range(m)])
            if mp.det(inner) == 0:
                continue
            value = mp.lu_solve(inner, mp.matrix(x[m * n :]))
            cost = mp.fsum(mp.mpf(self.costs[j]) * v for j, v in zip(choice, value, strict=True))
            if min(value) >= 0 and cost < best_cost:
                best, best_cost = [mp.mpf(0)] * n, cost
                for j, v in zip(choice, value, strict=True):
                    best[j] = v
        return best

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        # A_B = diag(1, ..., 1, h), b = (1, ..., 1, h) or (1, ..., 1, h/2): the last variable is 1 or 1/2.
        m, n = self.rows, len(self.costs)
        matrix = torch.zeros(depth.shape[0], m, n, dtype=depth.dtype, device=depth.device)
        matrix[:, range(m), range(m)] = 1.0
        matrix[:, m - 1, m - 1] = depth
        right = torch.ones(depth.shape[0], m, dtype=depth.dtype, device=depth.device)
        pair = []
        for last in (depth, depth / 2):
            right[:, -1] = last
            pair.append(torch.cat([matrix.flatten(1), right], dim=1))
        return pair[0], pair[1]
