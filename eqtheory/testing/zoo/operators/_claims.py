"""Operators that say something false about themselves: a factor, a proof, a derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.norms import Euclidean
from eqtheory.operators import FunctionOperator, ImplicitOperator, Regularity
from eqtheory.testing.zoo.operators._case import DIMENSION, HIDDEN, REFUTED, AuditCase, expected, normal, uniform

__all__ = ["FALSE_CLAIMS"]


def _false_factor() -> ImplicitOperator:
    """`y_i/2 + 2/5 w arctan(y_i / w) + x_i` with `w = 1/20`: slopes fall from 9/10 at zero to 1/2."""
    return FunctionOperator(
        lambda y, x: 0.5 * y + 0.4 * 0.05 * torch.atan(y / 0.05) + x,
        regularity=Regularity.declared(mu=0.5, L0=1.0, L1=0.0),
    )


def _false_proof() -> ImplicitOperator:
    norm = Euclidean()

    def proved(value: float) -> Bound:
        return Bound(value, Side.UPPER, "taken for granted", Evidence.PROVED, norm.name)

    return FunctionOperator(
        lambda y, x: 1.2 * y + 5.0 * x, regularity=Regularity(proved(0.5), proved(1.0), proved(0.0), norm, norm)
    )


def _false_budget() -> ImplicitOperator:
    return FunctionOperator(
        lambda y, x: 0.5 * y + torch.sin(3 * x), regularity=Regularity.declared(mu=0.5, L0=1.0, L1=0.0)
    )


def _detached(seen: float, hidden: float) -> Any:
    return lambda y, x: seen * y + hidden * y.detach() + x


class _WrongBackward(torch.autograd.Function):
    """`tanh`, with the derivative of the logistic function."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        out = torch.tanh(v)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (out,) = ctx.saved_tensors
        return grads[0] * out * (1 - out)


def _wrong_backward() -> Any:
    def G(y: Tensor, x: Tensor) -> Tensor:
        moved: Tensor = _WrongBackward.apply(0.5 * y + x)  # type: ignore[no-untyped-call]
        return moved

    return G


FALSE_CLAIMS: tuple[AuditCase, ...] = (
    AuditCase(
        "false factor",
        _false_factor,
        uniform(),
        expected(R1=HIDDEN),
        "Declares 0.5, and has 0.9 for states near zero: it contracts, and its certificates are too small by a factor of five.",
        domain=((-1.0, 1.0), (-1.0, 1.0)),
        mu=0.9,
    ),
    AuditCase(
        "false proof",
        _false_proof,
        normal(),
        expected(R1=REFUTED, R2=REFUTED),
        "Labels a factor of 0.5 and a budget of 1 as proved; they are 1.2 and 5.",
        mu=1.2,
    ),
    AuditCase(
        "false budget",
        _false_budget,
        normal(state=DIMENSION),
        expected(R2=REFUTED),
        "Declares L0 = 1, and has 3 where the cosine is one.",
        mu=0.5,
    ),
    AuditCase(
        "derivative detached in part",
        lambda: _detached(0.5, 0.3),
        normal(),
        expected(gradient=REFUTED),
        "The function contracts with 0.8, and its automatic derivative says 0.5.",
        mu=0.8,
    ),
    AuditCase(
        "expansion detached",
        lambda: _detached(0.5, 0.6),
        normal(),
        expected(R1=REFUTED, gradient=REFUTED),
        "Automatic derivatives say 0.5, pairs of states say 1.1: whoever trusts Jacobians alone proves what is false.",
        mu=1.1,
    ),
    AuditCase(
        "wrong backward pass",
        _wrong_backward,
        normal(),
        expected(gradient=REFUTED),
        "tanh whose backward pass is that of another function.",
        mu=0.5,
    ),
)
"""Every operator here is wrong about itself."""
