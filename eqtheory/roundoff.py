"""How far floating-point arithmetic can move a result; every tolerance of the project is derived here (T14).

With unit roundoff `u`, a result of `n` successive roundings has relative error at most `gamma_n = n u / (1 - n u)`.
A fixed-point iteration whose evaluations err by at most `theta + kappa |y|` stays within
`(theta + kappa |y*|) / (1 - mu - kappa)` of the exact fixed point: `1 / (1 - mu)` is its condition number.

References:
    N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002, chapters 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import InputError

__all__ = ["Rounding", "gamma", "tolerance", "unit_roundoff"]


def unit_roundoff(dtype: torch.dtype) -> float:
    """Largest relative error of one correctly rounded operation.

    Args:
        dtype: a floating-point type.

    Returns:
        Half the spacing of numbers at one: 2^-53 for float64, 2^-24 for float32, 2^-8 for bfloat16.

    Raises:
        InputError: `dtype` is not a floating-point type.

    Example:
        >>> import torch
        >>> unit_roundoff(torch.float64) == 2.0**-53
        True
    """
    if not dtype.is_floating_point:
        raise InputError("dtype", str(dtype), "a floating-point type", "convert with .double()")
    return torch.finfo(dtype).eps / 2


def gamma(operations: int, dtype: torch.dtype) -> float:
    """Relative error bound of a result that passed through that many roundings.

    Args:
        operations: number of successive roundings, at least 1.
        dtype: the floating-point type they happen in.

    Returns:
        `n u / (1 - n u)`.

    Raises:
        InputError: `n u >= 1/2`, where the bound says nothing useful, or `n < 1`.

    References:
        Higham 2002, Lemma 3.1.
    """
    n_u = operations * unit_roundoff(dtype)
    if operations < 1 or n_u >= 0.5:
        raise InputError(
            "operations", str(operations), f"1 <= n and n u < 1/2 in {dtype}", "use a wider type or fewer operations"
        )
    return n_u / (1 - n_u)


def tolerance(magnitude: Tensor, operations: int, condition: Tensor | float = 1.0) -> Tensor:
    """Absolute slack a check must grant to rounding, and no more.

    Args:
        magnitude: size of the largest intermediate quantity, shape `(batch,)`.
        operations: roundings between the inputs and the compared number.
        condition: how much the problem amplifies them, for example `1 / (1 - mu)`.

    Returns:
        `gamma_n * condition * magnitude`, shape `(batch,)`.
    """
    return gamma(operations, magnitude.dtype) * condition * magnitude.abs()


@dataclass(frozen=True)
class Rounding:
    """Evaluation error of an operator: `|fl(G(y, x)) - G(y, x)| <= u (constant(x) + relative |y|)`.

    The numbers are in units of the unit roundoff `u` of the dtype in use, so one declaration serves every precision.

    Args:
        relative: coefficient of the state's norm; a number, or a callable of the input.
        constant: a number, or a callable of the input that returns a number or shape `(batch,)`.
    """

    relative: Any
    constant: Any = 0.0

    def error(self, state_norm: Tensor, x: Any) -> Tensor:
        """Bound the evaluation error sample by sample.

        Args:
            state_norm: norms of the states, shape `(batch,)`.
            x: the inputs.

        Returns:
            Tensor of shape `(batch,)`, in the units of the state.
        """
        constant = self.constant(x) if callable(self.constant) else self.constant
        relative = self.relative(x) if callable(self.relative) else self.relative
        return unit_roundoff(state_norm.dtype) * (constant + relative * state_norm)
