r"""A fixed point that was found without autograd takes its place in the graph.

Let `y` solve `y = F(y, x)`, where `x` stands for everything else that `F` depends on. By the implicit function theorem

    dy = (I - J)^{-1} F_x dx,    J = dF/dy,

so a gradient `v` with respect to `y` becomes `w = (I - J^T)^{-1} v` with respect to the value of `F` at a `y` held fixed, and from
there autograd takes it to every `x`, parameter and captured tensor. Solving `w = v + J^T w` needs products with `J^T` only.

**Second and higher derivatives.** The first gradient, `g = F_x(y, x)^T w`, depends on `x` directly, through `y` and through `w`. A
graph in which `y` is held fixed lacks the second path, silently. So where the backward pass is itself recorded, `F` is evaluated
once more at the `y` that hangs in the graph, and `w` is put into the graph as what it is: the fixed point of the operator
`H(w; v, y, x) = v + J(y, x)^T w`, by the very same construction. Every further derivative repeats it one level up.

Partial derivatives are needed there: `F_x` at fixed `y`, although `y` hangs on `x`. Every operand of `F` passes a **valve**, an identity
that lets no gradient through while the partial derivatives are formed and is transparent ever after.

**Forward mode.** A tangent `dz = F_x dx` of the value becomes `dy`, the solution of `dy = dz + J dy`.

References:
    Bai, Kolter and Koltun, Deep equilibrium models, NeurIPS 2019, Theorem 1 (the first derivative).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import compress
from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from eqtheory.errors import GradientUnavailableError
from eqtheory.gradients._surrogate import refused
from eqtheory.gradients._tangents import carries_tangent, primal, without_derivatives
from eqtheory.nests import map_tensors, tensors
from eqtheory.norms import Euclidean
from eqtheory.operators._linearization import Linearization, Map
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers import Gauge

__all__ = ["AdjointRule", "reattach"]

_MIXED = (
    "reverse differentiation of a forward tangent is not carried by a fixed point outside of torch.func; "
    "differentiate backwards first, or use torch.func.jvp"
)

_AGAIN = "solve again, or take the first derivative without create_graph before changing anything"
_HIDDEN = (
    "a recorded backward pass needs every tensor that G depends on, and G has captured one that is neither a leaf nor found in a closure, "
    "a parameter or an attribute; hand it to G through x"
)


class AdjointRule(ABC):
    """How the two linear equations of the implicit function theorem are solved."""

    @abstractmethod
    def adjoint(self, jacobian: Linearization, v: Tensor) -> Tensor:
        """Solve `w = v + J^T w`.

        Args:
            jacobian: products with `J^T`.
            v: shape of the states.

        Returns:
            The adjoint `w`.
        """

    @abstractmethod
    def tangent(self, jacobian: Linearization, dz: Tensor) -> Tensor:
        """Solve `u = dz + J u`.

        Args:
            jacobian: products with `J`.
            dz: shape of the states.

        Returns:
            The tangent `u`.
        """


@dataclass
class _Valve:
    closed: bool = False


class _Gate(Function):
    """An identity whose gradient stops at a closed valve."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, valve: _Valve) -> Tensor:
        ctx.valve = valve
        ctx.set_materialize_grads(False)
        return t.view_as(t)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> Any:
        return None if ctx.valve.closed else gradient, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, _: None) -> Any:  # noqa: ARG004
        return None if tangent is None else tangent.view_as(tangent)


def _gated(nest: Any, valve: _Valve) -> Any:
    """The nest with every tensor that can carry a derivative behind the valve."""
    wanted = lambda t: t.requires_grad or carries_tangent(t)  # noqa: E731
    return map_tensors(lambda t: _Gate.apply(t, valve) if wanted(t) else t, nest)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, eq=False)
class _Level:
    """One fixed-point equation: the operator, its explicit operands, and the rule that solves its linearisation."""

    function: Map
    nest: Any
    chosen: tuple[bool, ...]
    rule: AdjointRule
    depth: int
    versions: tuple[int, ...]
    hidden: bool

    def unchanged(self) -> None:
        """Make sure that operands without a derivative, which autograd does not watch, are what they were.

        Raises:
            GradientUnavailableError: one was written into.
        """
        if self.versions != _versions(self.nest):
            message = f"an input of G was overwritten between the solve and a recorded backward pass; {_AGAIN}"
            raise GradientUnavailableError(message)


def reattach(
    function: Map,
    y: Tensor,
    nest: Any,
    rule: AdjointRule,
    *,
    captured: tuple[Tensor, ...] | None = None,
    depth: int = 0,
) -> Tensor:
    """Return the fixed point as a tensor that can be differentiated.

    Args:
        function: the operator `F(y, nest)`.
        y: its fixed point, shape `(batch, ...)`.
        nest: the explicit operands beside the state.
        rule: solves the linear equations.
        captured: leaves of the graph that `function` uses without being handed them; searched for by default.
        depth: how often `function` is the adjoint of the adjoint of ... the operator itself.

    Returns:
        `y`, to the bit.
    """
    valve = _Valve()
    gated = _gated(nest, valve)
    if torch.is_autocast_enabled(y.device.type):
        torch.clear_autocast_cache()  # weights that were cast for an earlier evaluation belong to no graph of this one
    born = _now()
    at = y.detach()
    if torch.is_grad_enabled():
        at.requires_grad_()
    value = function(at, gated)
    operands = [t for _, t in tensors(nest)]
    chosen = tuple(t.requires_grad or carries_tangent(t) for t in operands)
    hidden = False
    if captured is None:
        captured = ()
        if torch.is_grad_enabled():
            captured, hidden = _leaves_behind(value, [t for _, t in tensors(gated)], at, born)
    level = _Level(function, nest, chosen, rule, depth, _versions(nest), hidden)
    return _Attach.apply(level, value, at, y.detach(), *compress(operands, chosen), *captured)  # type: ignore[no-untyped-call]


def _leaves_behind(value: Tensor, stops: Iterable[Tensor], own: Tensor, born: int) -> tuple[tuple[Tensor, ...], bool]:
    """Find the leaves of a graph.

    Args:
        value: the root.
        stops: tensors at which the search ends.
        own: a leaf that does not count.
        born: number of the first node of the evaluation; nodes before it belong to tensors that were captured.

    Returns:
        The other leaves that require a gradient, each once, and whether a captured tensor stands between them and the evaluation.
    """
    seen = {t.grad_fn for t in stops if t.grad_fn is not None}
    found, waiting, hidden = [], [value.grad_fn], False
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is None:
            hidden |= node._sequence_nr() < born  # noqa: SLF001  (torch's own name for the order of creation)
            waiting += [before for before, _ in node.next_functions]
        elif leaf is not own:
            found.append(leaf)
    return tuple(found), hidden


def _now() -> int:
    """The number that the next node of this thread's graphs will have, or one less."""
    with torch.enable_grad():
        node = torch.zeros((), requires_grad=True).view(()).grad_fn
    assert node is not None  # noqa: S101  (a recorded view has one)
    return node._sequence_nr()  # noqa: SLF001


def _versions(nest: Any) -> tuple[int, ...]:
    return tuple(0 if t.is_inference() else t._version for _, t in tensors(nest))  # noqa: SLF001  (what autograd compares)


def _same_operator(y: Tensor, value: Tensor, then: Tensor) -> None:
    """Compare an evaluation in the backward pass with the one that was solved, as a solve does before it cuts its batch.

    Raises:
        GradientUnavailableError: they differ by more than rounding.
    """
    gauge = Gauge(Euclidean(), y, certified=False)
    y, now, before = (primal(t).detach() for t in (y, value, then))
    if not bool((gauge.distance(now, before) <= sqrt(unit_roundoff(y.dtype)) * (gauge(before) + gauge(y))).all()):
        message = f"G gives another value than when it was solved, so something that it uses was changed; {_AGAIN}"
        raise GradientUnavailableError(message)


class _Attach(Function):
    """The identity on a fixed point, with the derivatives of the implicit function theorem."""

    @staticmethod
    def forward(ctx: Any, level: _Level, value: Tensor, at: Tensor, y: Tensor, *inputs: Tensor) -> Tensor:
        ctx.level = level
        ctx.set_materialize_grads(False)
        out = y.clone()
        ctx.save_for_backward(value, at, out, *inputs)
        ctx.save_for_forward(out, *inputs)
        return out

    @staticmethod
    def backward(ctx: Any, v: Tensor | None) -> Any:
        value, at, y, *inputs = ctx.saved_tensors
        nothing = [None] * len(inputs)
        if v is None:
            return None, None, None, None, *nothing
        level: _Level = ctx.level
        plain = Linearization(level.function, at.detach(), primal(level.nest), graph=(at, value), depth=level.depth)
        w = without_derivatives(lambda: level.rule.adjoint(plain, primal(v)))
        if not (torch.is_grad_enabled() or carries_tangent([v, y, *inputs])):
            return None, w, None, None, *nothing
        level.unchanged()
        if level.hidden:
            raise GradientUnavailableError(_HIDDEN)
        captured = tuple(inputs[sum(level.chosen) :])
        above = _adjoint_of(level.function)
        w = reattach(above, w, (v, y, level.nest), level.rule, captured=captured, depth=level.depth + 1)
        return None, None, None, None, *_partials(level, y, w, captured, value)

    @staticmethod
    def jvp(ctx: Any, level: None, dz: Tensor | None, *others: Any) -> Any:  # noqa: ARG004
        if dz is None:
            return None
        y, *inputs = ctx.saved_tensors
        here: _Level = ctx.level
        plain = Linearization(here.function, y.detach(), primal(here.nest), depth=here.depth)
        u = without_derivatives(lambda: here.rule.tangent(plain, dz.detach()))
        # The tangent depends on everything that J does, also where dz itself is constant.
        recorded = next((t for t in (dz, *inputs) if t.requires_grad), None)
        return u if recorded is None else refused(u, [dz, *inputs], _MIXED)


def _adjoint_of(function: Map) -> Map:
    """`H(w; v, y, x) = v + J(y, x)^T w`, in a form that can be differentiated in everything."""

    def H(w: Tensor, operands: Any) -> Tensor:
        v, y, x = operands
        with torch.enable_grad():
            state = y.view_as(y)
            if not state.requires_grad:
                state.requires_grad_()
            value = function(state, x)
            if not value.requires_grad:
                return v + 0 * w
            (product,) = torch.autograd.grad(value, state, w, create_graph=True, allow_unused=True)
        return v + (0 * w if product is None else product)

    return H


def _partials(level: _Level, y: Tensor, w: Tensor, captured: tuple[Tensor, ...], then: Tensor) -> list[Tensor | None]:
    """`F_x(y, x)^T w` for every operand `x`, recorded where the backward pass is."""
    valve = _Valve()
    with torch.enable_grad():
        gated = _gated(level.nest, valve)
        value = level.function(_gated(y, valve), gated)
    if level.depth == 0:
        _same_operator(y, value, then)
    operands = list(compress((t for _, t in tensors(gated)), level.chosen))
    wanted = [t for t in (*operands, *captured) if t.requires_grad]
    valve.closed = True
    try:
        found = torch.autograd.grad(
            value, wanted, w, create_graph=torch.is_grad_enabled(), retain_graph=True, allow_unused=True
        )
    finally:
        valve.closed = False
    gradients = iter(found)
    return [next(gradients) if t.requires_grad else None for t in (*operands, *captured)]
