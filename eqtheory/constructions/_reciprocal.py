"""The motivating examples: simple operators whose fixed points are reciprocals and inverses (T7)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import Euclidean, Norm, Spectral, same_shape
from eqtheory.operators import ImplicitOperator, OncePerInput, Regularity
from eqtheory.roundoff import Rounding
from eqtheory.validate import batch_of, inside, open_unit

__all__ = ["MatrixInverse", "Reciprocal", "TwoSidedReciprocal"]


def _proved(value: float, norm: Norm, *, side: Side = Side.UPPER) -> Bound:
    return Bound(value, side, "T7", Evidence.PROVED, norm=norm.name)


@final
class Reciprocal(ImplicitOperator):
    """`G(y, x) = y - eta (x y - 1)` on `x` in `(0, 1]`: fixed point `1/x`.

    `dG/dy = 1 - eta x`, `G(y,x) - G(y,x') = -eta (x - x') y`: `mu = 1 - eta x`, `L0 = 0`, `L1 = eta`, all exact.

    Args:
        eta: step, `0 < eta < 1`.

    Raises:
        InputError: `eta` outside.

    Theorem: T7.

    Example:
        >>> G = Reciprocal(0.5)
        >>> G(torch.tensor([4.0]), torch.tensor([0.25]))
        tensor([4.])
    """

    def __init__(self, eta: float = 0.5) -> None:
        self.eta = open_unit("eta", eta)
        self._check = OncePerInput(_in_unit_interval)
        norm = Euclidean()
        # Four roundings: x y, minus 1, times eta, the sum. The first three act on quantities of size |x y| + 1 <= |y| + 1.
        rounding = Rounding(relative=5.0, constant=4.0)
        mu = LocalBound(lambda x: 1 - self.eta * x, Side.EXACT, "T7", Evidence.PROVED, norm.name, semicontinuous=True)
        self.regularity = Regularity(
            mu, _proved(0.0, norm, side=Side.EXACT), _proved(eta, norm, side=Side.EXACT), norm, norm, rounding
        )

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        self._check(x)
        same_shape("y, x", y, x)
        return y - self.eta * (x * y - 1)

    def initial_state(self, x: Tensor) -> Tensor:
        """Start from zero, after checking the inputs.

        Args:
            x: shape `(batch,)`, in `(0, 1]`.

        Returns:
            Zeros, shape `(batch,)`.

        Raises:
            DomainError: an input outside.
        """
        self._check(x)
        return torch.zeros_like(x)

    def iterate_closed_form(self, x: Tensor, steps: int) -> Tensor:
        """The Picard iterate from zero without iterating: `(1 - (1 - eta x)^t) / x`.

        Args:
            x: shape `(batch,)`, in `(0, 1]`.
            steps: `t`.

        Returns:
            `y_t`, shape `(batch,)`.
        """
        self._check(x)
        return -torch.expm1(steps * torch.log1p(-self.eta * x)) / x


@final
class TwoSidedReciprocal(ImplicitOperator):
    """`G(y, x) = y - eta x (x y - 1)` on `x` in `[-1, 1]` without 0: fixed point `1/x`.

    `dG/dy = 1 - eta x^2`; `G(y,x) - G(y,x') = eta (x - x') - eta (x + x')(x - x') y` with `|x + x'| <= 2`, also across 0:
    `mu = 1 - eta x^2`, `L0 = eta`, `L1 = 2 eta`.

    Args:
        eta: step, `0 < eta < 1`.

    Raises:
        InputError: `eta` outside.

    Theorem: T7.
    """

    def __init__(self, eta: float = 0.5) -> None:
        self.eta = open_unit("eta", eta)
        self._check = OncePerInput(_in_punctured_interval)
        norm = Euclidean()
        # Five roundings on quantities of size at most |y| + 1.
        rounding = Rounding(relative=6.0, constant=5.0)
        mu = LocalBound(
            lambda x: 1 - self.eta * x * x, Side.EXACT, "T7", Evidence.PROVED, norm.name, semicontinuous=True
        )
        self.regularity = Regularity(mu, _proved(eta, norm), _proved(2 * eta, norm), norm, norm, rounding)

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        self._check(x)
        same_shape("y, x", y, x)
        return y - self.eta * x * (x * y - 1)

    def initial_state(self, x: Tensor) -> Tensor:
        """Start from zero, after checking the inputs.

        Args:
            x: shape `(batch,)`, in `[-1, 1]` without 0.

        Returns:
            Zeros, shape `(batch,)`.

        Raises:
            DomainError: an input outside, in particular `x = 0`.
        """
        self._check(x)
        return torch.zeros_like(x)


@final
class MatrixInverse(ImplicitOperator):
    """`G(Y, A) = Y - eta A^T (A Y - I)` for `|A| <= 1`, `A` invertible: fixed point the inverse.

    `dG = I - eta A^T A` has norm `1 - eta sigma_min^2`, and
    `G(Y,A) - G(Y,B) = eta (A - B)^T - eta (A^T A - B^T B) Y` with `|A^T A - B^T B| <= (|A| + |B|) |A - B|`:
    `L0 = eta`, `L1 = 2 eta`. Spectral or Frobenius norm throughout; without a bound on `|A|` there is no budget.

    Args:
        eta: step, `0 < eta <= 1`.
        norm: `Spectral()` or `Euclidean()` (Frobenius), on matrices and states alike.

    Raises:
        InputError: `eta` outside, or another norm.

    Theorem: T7.
    """

    def __init__(self, eta: float = 1.0, *, norm: Norm | None = None) -> None:
        self.eta = open_unit("eta", eta, include_one=True)
        self._check = OncePerInput(_invertible_contraction)
        chosen = norm or Spectral()
        if not isinstance(chosen, (Spectral, Euclidean)):
            raise InputError("norm", chosen.name, "Spectral() or Euclidean()", "the constants are proved in these two")
        mu = LocalBound(
            lambda A: 1 - self.eta * _least(A) ** 2, Side.EXACT, "T7", Evidence.PROVED, chosen.name, semicontinuous=True
        )
        # Two products of n x n matrices: an inner product of length n errs by gamma_n sum |a||b|, and replacing both factors by
        # their entrywise absolute values costs at most sqrt(n) each in the spectral norm. With |A| <= 1 the first product errs by
        # n^2 u |Y|, the second by n^2 u (|Y| + 1); three more roundings act on quantities of size at most |Y| + 1.
        rounding = Rounding(relative=_product_ulps, constant=_product_ulps)
        self.regularity = Regularity(mu, _proved(eta, chosen), _proved(2 * eta, chosen), chosen, chosen, rounding)

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        self._check(x)
        same_shape("y, x", y, x)
        identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        return y - self.eta * (x.mT @ (x @ y - identity))

    def initial_state(self, x: Tensor) -> Tensor:
        """Start from zero, after checking the matrices.

        Args:
            x: shape `(batch, n, n)`, spectral norm at most 1, invertible.

        Returns:
            Zeros, the shape of `x`.

        Raises:
            DomainError: a singular matrix or one of norm above 1.
        """
        self._check(x)
        return torch.zeros_like(x)


def _in_unit_interval(x: Tensor) -> None:
    batch_of("x", x, trailing=())
    inside("x", x, (x > 0) & (x <= 1), "x in (0, 1]", "use TwoSidedReciprocal for negative x; 1/0 does not exist")


def _in_punctured_interval(x: Tensor) -> None:
    batch_of("x", x, trailing=())
    inside("x", x, (x != 0) & (x.abs() <= 1), "x in [-1, 1], x != 0", "remove zeros and rescale: 1/x = s (1/(s x))")


def _invertible_contraction(x: Tensor) -> None:
    batch_of("x", x)
    if x.ndim != 3 or x.shape[1] != x.shape[2]:
        raise ShapeError("x", f"shape {tuple(x.shape)}", "(batch, n, n)", "pass a batch of square matrices")
    sigma = torch.linalg.svdvals(x.detach())
    slack = 4 * x.shape[-1] * torch.finfo(x.dtype).eps  # backward error of the singular values of a matrix of norm 1
    inside("x", x, sigma[:, 0] <= 1 + slack, "spectral norm <= 1", "divide by the norm: inv(A) = inv(A/s)/s")
    inside("x", x, sigma[:, -1] > slack, "an invertible matrix", "its smallest singular value is zero to rounding")


def _product_ulps(x: Tensor) -> float:
    return 2.0 * x.shape[-1] ** 2 + 6.0


def _least(A: Tensor) -> Tensor:
    return torch.linalg.svdvals(A)[..., -1]
