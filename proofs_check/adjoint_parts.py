"""Exact parts of the check of T9: rational affine operators, known fixed points in symbols, the identities of the proof."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import sympy

from proofs_check import rational

__all__ = ["identities", "known_derivatives", "of_affine"]


def of_affine(
    J: list[list[Fraction]], B: list[list[Fraction]], v: list[Fraction], guess: list[Fraction], relaxation: Fraction
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that T9 says about `G(y, x) = J y + B x`, states in the sup norm and adjoints in its dual, the sum.

    Args:
        J: derivative in the state, of sup norm below one.
        B: derivative in the input.
        v: a loss gradient.
        guess: any adjoint.
        relaxation: of phantom steps.

    Yields:
        Inequality and quantities.
    """
    mu, transpose = rational.sup_norm(J), rational.transposed(J)
    true = rational.solve(rational.identity_minus(transpose), v)
    columns = [rational.solve(rational.identity_minus(J), column) for column in rational.transposed(B)]
    derivative, size = rational.transposed(columns), sum(map(abs, v), Fraction(0))
    length = rational.sup_norm(derivative)
    yield "jacobian_bound", {"derivative_norm": length, "input_norm": rational.sup_norm(B), "mu": mu}
    residual = rational.sum_distance([p + q for p, q in zip(v, rational.product(transpose, guess), strict=True)], guess)
    error = rational.sum_distance(guess, true)
    yield "residual_bound", {"error": error, "mu": mu, "residual": residual}
    pulled = (rational.product(rational.transposed(B), w) for w in (guess, true))
    known = {"alpha": 0, "beta": 0, "state_error": 0, "adjoint_norm": sum(map(abs, guess), Fraction(0))}
    error = rational.sum_distance(*pulled)
    yield "gradient_certificate", {"error": error, "derivative_norm": length, "adjoint_residual": residual, **known}
    plain, relaxed = list(v), [relaxation * p for p in v]
    for K in range(1, 4):
        error = rational.sum_distance(plain, true)
        yield "neumann_truncation", {"error": error, "mu": mu, "cotangent_norm": size, "terms": K}
        error = rational.sum_distance(relaxed, true)
        quantities = {"error": error, "mu": mu, "cotangent_norm": size, "steps": K, "relaxation": relaxation}
        yield "phantom_truncation", quantities
        plain = [p + q for p, q in zip(v, rational.product(transpose, plain), strict=True)]
        image = rational.product(transpose, relaxed)
        relaxed = [relaxation * (p - q + r) + q for p, q, r in zip(v, relaxed, image, strict=True)]


def known_derivatives() -> Iterator[tuple[str, sympy.Matrix]]:
    """Fixed points known in closed form: `(I - d_yG) D = d_xG` with their derivative `D`.

    Yields:
        Statement, and the difference of the two sides, which must vanish.
    """
    x, y, eta = sympy.symbols("x y eta", real=True)
    F, eps = sympy.Function("F")(x), sympy.Function("epsilon")(x)
    A, Y = (sympy.Matrix(2, 2, sympy.symbols(f"{name}:4", real=True)) for name in ("A", "Y"))
    inverse = Y - eta * A.T * (A * Y - sympy.eye(2))
    yield "y - eta (x y - 1), y* = 1/x", *_implicit([y - eta * (x * y - 1)], [y], [x], [1 / x])
    yield "y + eps(x) (F(x) - y), y* = F, any smooth F and eps", *_implicit([y + eps * (F - y)], [y], [x], [F])
    yield "Y - eta A^T (A Y - I), y* = A^-1, 2 x 2", *_implicit(list(inverse), list(Y), list(A), list(A.inv()))


def _implicit(G: list[Any], y: list[Any], x: list[Any], solution: list[Any]) -> tuple[sympy.Matrix]:
    at = dict(zip(y, solution, strict=True))
    operator, fixed = sympy.Matrix(G), sympy.Matrix(solution)
    assert (operator.subs(at) - fixed).applyfunc(sympy.cancel) == sympy.zeros(len(y), 1)
    J, B = operator.jacobian(y).subs(at), operator.jacobian(x).subs(at)
    return (((sympy.eye(len(y)) - J) * fixed.jacobian(x) - B).applyfunc(sympy.cancel),)


def identities() -> Iterator[tuple[str, str, sympy.Matrix]]:
    """The identities of the proof on 2 x 2 matrices, with hats for the other state.

    Yields:
        Inequality, statement, and the difference of the two sides, which must vanish.
    """
    a, eye = sympy.Symbol("lambda", real=True), sympy.eye(2)
    w, s = (sympy.Matrix(sympy.symbols(f"{name}:2", real=True)) for name in ("w", "s"))
    J, Jh, D, Dh = (sympy.Matrix(2, 2, sympy.symbols(f"{name}:4", real=True)) for name in ("J", "H", "D", "E"))
    T = (1 - a) * eye + a * J.T
    for K in range(1, 5):
        series = sum((a * T**k * (eye - J.T) * w for k in range(K)), sympy.zeros(2, 1))
        statement = f"w - lambda sum of T^k (I - J^T) w over k < {K} = T^{K} w"
        yield "phantom_truncation", statement, w - series - T**K * w
    B, Bh = (eye - J) * D, (eye - Jh) * Dh  # what makes D and Dh the derivatives at the two states
    difference = (eye - Jh) * (Dh - D) - (Bh - B + (Jh - J) * D)
    yield "certificate", "(I - J^)(D^ - D) = B^ - B + (J^ - J) D", difference
    difference = (eye - J) * (Dh - D) - (Bh - B + (Jh - J) * Dh)
    yield "certificate", "(I - J)(D^ - D) = B^ - B + (J^ - J) D^", difference
    v = s + w - Jh.T * w  # what makes s the residual of w at the other state
    difference = Bh.T * w - D.T * v - ((Bh - B).T * w + D.T * ((Jh - J).T * w - s))
    yield "gradient_certificate", "B^^T w^ - D^T v = (B^ - B)^T w^ + D^T ((J^ - J)^T w^ - s)", difference
