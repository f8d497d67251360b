"""Is this operator regular? Slopes on pairs against the claims (R1) and (R2), by the inequalities of the registry."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from torch import Tensor

from eqtheory.bounds import Verdict, VerdictKind
from eqtheory.errors import InputError
from eqtheory.norms import Norm
from eqtheory.operators import Regularity
from eqtheory.roundoff import Rounding
from eqtheory.testing.assertions._comparison import Comparison, claimed, compared, settled
from eqtheory.testing.assertions._evaluation import (
    Operator,
    apart,
    applied,
    error_of,
    inputs_of,
    norm_of,
    regularity_of,
    row,
    states_of,
)
from eqtheory.theorems import contraction, simplicity

__all__ = ["assert_contractive", "assert_nonexpansive", "assert_regular"]


def _regularity_of(operator: Operator, given: Regularity | None) -> Regularity:
    found = given or regularity_of(operator)
    if found is None:
        raise InputError(
            "regularity", "None", "constants to compare with", "pass Regularity.declared(mu=..., L0=..., L1=...)"
        )
    return found


def _in_the_state(
    operator: Operator, x: Any, states: tuple[Tensor, ...], mu: Tensor, norm: Norm, rounding: Rounding | None
) -> list[Comparison]:
    values = [applied(operator, y, x) for y in states]
    errors = [error_of(operator, norm, y, x, out, rounding) for y, out in zip(states, values, strict=True)]
    found = []
    for i, j in combinations(range(len(states)), 2):
        before, after = apart(norm, states[i], states[j]), apart(norm, values[i], values[j])

        def witness(k: int, i: int = i, j: int = j, before: Tensor = before, after: Tensor = after) -> str:
            slope, claim = float(after[k] / before[k]), float(mu[k])
            pair = f"y1 = {row(states[i], k)}, y2 = {row(states[j], k)}, x = {row(x, k)}"
            return f"{pair}: slope {slope:.6g}, claimed {claim:.6g}, excess {slope - claim:.3g}"

        sides = contraction.sides(gap_after=after, gap_before=before, mu=mu.to(before))
        # A slope of one more than claimed is what should be noticed for certain.
        found.append(compared(sides, before, errors[i] + errors[j], before, states[0][0].numel(), witness))
    return found


def assert_contractive(
    operator: Operator,
    x: Any,
    *states: Tensor,
    mu: Any = None,
    norm: Norm | None = None,
    rounding: Rounding | None = None,
) -> Verdict:
    """Assert `|G(y1,x) - G(y2,x)| <= mu(x) |y1 - y2|` on pairs, up to rounding (R1).

    Passing refutes nothing and proves nothing: pairs give lower bounds.

    Args:
        operator: anything callable as `G(y, x)`.
        x: inputs, batch axis first.
        states: two or more batches of states; every two of them are compared row by row.
        mu: the claim, in `[0, 1)`: a number, one for each row, a bound, or a callable of `x`; the declared one by default.
        norm: of the states; the declared one, else Euclidean.
        rounding: evaluation error; the declared one by default, else the assumption written in the package's header.

    Returns:
        `not refuted`, with the number of pairs that decide, and the worst relative margin.

    Raises:
        InputError: in its kinds: no claim, no pair, NaN, shapes that differ.

    Example:
        >>> import torch
        >>> y, z, x = torch.zeros(1, 2).double(), torch.ones(1, 2).double(), torch.ones(1, 2).double()
        >>> assert_contractive(lambda y, x: 0.5 * y + x, x, y, z, mu=0.75).kind.value
        'not refuted'
        >>> from eqtheory.testing import Refuted
        >>> try:
        ...     assert_contractive(lambda y, x: 0.5 * y + x, x, y, z, mu=0.25)
        ... except Refuted as found:
        ...     print(str(found).partition("by ")[2])
        y1 = [0.0, 0.0], y2 = [1.0, 1.0], x = [1.0, 1.0]: slope 0.5, claimed 0.25, excess 0.25
    """
    batch = states_of(states, "states", 2)
    inputs_of(x, batch)
    claim = _regularity_of(operator, None).mu if mu is None else mu
    factor = claimed("mu", claim, x, batch, below=1.0)
    found = _in_the_state(operator, x, states, factor, norm_of(operator, norm), rounding)
    return settled(contraction.name, found, f"{contraction.statement}, on pairs")


def assert_nonexpansive(
    operator: Operator, x: Any, *states: Tensor, norm: Norm | None = None, rounding: Rounding | None = None
) -> Verdict:
    """Assert `|G(y1,x) - G(y2,x)| <= |y1 - y2|` on pairs, up to rounding.

    Args:
        operator: anything callable as `G(y, x)`.
        x: inputs, batch axis first.
        states: two or more batches of states.
        norm: of the states; the declared one, else Euclidean.
        rounding: evaluation error; see `assert_contractive`.

    Returns:
        `not refuted`, with the number of pairs that decide, and the worst relative margin.

    Example:
        >>> import torch
        >>> y, z = torch.zeros(1, 2).double(), torch.ones(1, 2).double()
        >>> assert_nonexpansive(lambda y, x: x - y, y, y, z).trials
        1
    """
    batch = states_of(states, "states", 2)
    inputs_of(x, batch)
    one = claimed("mu", 1.0, x, batch)
    found = _in_the_state(operator, x, states, one, norm_of(operator, norm), rounding)
    return settled("nonexpansive", found, "|G(y1,x) - G(y2,x)| <= |y1 - y2|, on pairs")


def _in_the_input(
    operator: Operator, inputs: Sequence[Tensor], y: Tensor, known: Regularity, rounding: Rounding | None
) -> list[Comparison]:
    norm, size = known.state_norm, known.state_norm(y.double())
    values = [applied(operator, y, x) for x in inputs]
    errors = [error_of(operator, norm, y, x, out, rounding) for x, out in zip(inputs, values, strict=True)]
    found = []
    for i, j in combinations(range(len(inputs)), 2):
        delta, gap = apart(known.input_metric, inputs[i], inputs[j]), apart(norm, values[i], values[j])
        sides = simplicity.sides(gap=gap, state_norm=size, delta=delta, L0=known.L0.value, L1=known.L1.value)

        def witness(
            k: int, i: int = i, j: int = j, delta: Tensor = delta, gap: Tensor = gap, budget: Tensor = sides[1]
        ) -> str:
            slope, claim = float(gap[k] / delta[k]), float(budget[k] / delta[k])
            pair = f"x = {row(inputs[i], k)}, x' = {row(inputs[j], k)}, y = {row(y, k)}"
            return f"{pair}: slope {slope:.6g}, claimed {claim:.6g}, excess {slope - claim:.3g}"

        # A slope of twice the budget, or of one more, is what should be noticed for certain.
        room = sides[1] + delta
        found.append(compared(sides, delta, errors[i] + errors[j], room, y[0].numel(), witness))
    return found


def assert_regular(
    operator: Operator,
    inputs: Sequence[Tensor],
    states: Sequence[Tensor],
    *,
    regularity: Regularity | None = None,
    rounding: Rounding | None = None,
) -> Verdict:
    """Assert (R1) on pairs of states at every input, and (R2) on pairs of inputs at every state, up to rounding.

    Args:
        operator: anything callable as `G(y, x)`.
        inputs: two or more batches of inputs; an instance of the strategies has `instance.inputs`.
        states: two or more batches of states; an instance has `instance.states`.
        regularity: the claim; the declared one by default.
        rounding: evaluation error; see `assert_contractive`.

    Returns:
        `not refuted`, with the number of pairs that decide, and the worst relative margin.

    Raises:
        InputError: in its kinds: no claim, no pair, NaN, shapes that differ.

    Example:
        >>> import torch
        >>> from eqtheory.operators import Regularity
        >>> pair = torch.zeros(1, 2).double(), torch.ones(1, 2).double()
        >>> known = Regularity.declared(mu=0.5, L0=1.0, L1=0.0)
        >>> assert_regular(lambda y, x: 0.5 * y + x, pair, pair, regularity=known).trials
        4
    """
    states, inputs = tuple(states), tuple(inputs)
    batch = states_of(states, "states", 2)
    if states_of(inputs, "inputs", 2) != batch:
        raise InputError("inputs", f"{len(inputs[0])} rows", f"{batch}, one a state", "pass as many as states")
    known = _regularity_of(operator, regularity)
    norm = known.state_norm
    in_y = [
        entry
        for x in inputs
        for entry in _in_the_state(operator, x, states, claimed("mu", known.mu, x, batch, below=1.0), norm, rounding)
    ]
    first = settled(contraction.name, in_y, contraction.statement)
    in_x = [entry for y in states for entry in _in_the_input(operator, inputs, y, known, rounding)]
    second = settled(simplicity.name, in_x, simplicity.statement)
    return Verdict(
        VerdictKind.NOT_REFUTED,
        first.trials + second.trials,
        min(first.worst_margin, second.worst_margin),
        "(R1) and (R2), on pairs",
    )
