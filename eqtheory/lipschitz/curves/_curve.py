r"""How steep `x -> y_t(x)` is after every number of iterations, all in one pass.

The derivative obeys the iteration itself: with `V_t = Dy_t W` for a block `W` of tangents of the input,

    V_{t+1} = a_t V_t + b_t V_0 + c_t (dG/dy(y_t, x) V_t + dG/dx(y_t, x) W)       where   y_{t+1} = a_t y_t + b_t y_0 + c_t G(y_t, x),

so all `t = 1..T` cost `O(T)` evaluations instead of `O(T^2)`. For every `t` and sample, with `W` of norm 1,

- **lower side**: the norm of `V_t` as a map of the block is at most `|Dy_t(x)|`, hence at most the local modulus; it is
  `|Dy_t(x)|` itself where the block spans the input space;
- **upper side**, from constants `mu, L0, L1` of the operator and for weights that are not negative and do not depend on `x`:
  the step of T4 and T4b on balls that shrink to `x`, with `R_t = |y_t(x)|`. A factor `mu` that depends on the input has to be upper
  semicontinuous for that, and to say so. Iterations whose weights adapt have no such bound (N8), and no derivative that could be
  trusted across restarts: their lower side comes from pairs of runs. A pair is a finite distance apart, so that its slope bounds the
  Lipschitz constant over any set that holds it, and the local modulus only where slopes do not change over that distance. Rounding
  inside a solver grows with the condition of what it solves, which is not known, so that slopes of pairs are estimates.

A curve names its iteration: the same operator grows at another rate under another solver.

Theorem: T4, T4b, N8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz._copies import copied
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound
from eqtheory.lipschitz.curves._block import input_block
from eqtheory.lipschitz.curves._by_pairs import curve_by_pairs
from eqtheory.lipschitz.curves._by_tangents import curve_by_tangents
from eqtheory.lipschitz.curves._in_place import OnCopies, Watching, WorksInPlaceError
from eqtheory.lipschitz.curves._iteration import Averaging, Iteration, averaging_of
from eqtheory.lipschitz.curves._record import Task
from eqtheory.lipschitz.curves._result import Curve
from eqtheory.nests import Raveled, map_tensors, tensors
from eqtheory.norms import Euclidean, Norm
from eqtheory.operators import ImplicitOperator, as_operator
from eqtheory.validate import batch_of, count, positive, require_finite

__all__ = ["curve"]


def curve(
    operator: ImplicitOperator | Callable[[Tensor, Any], Tensor],
    x: Any,
    steps: int | Sequence[int],
    *,
    y0: Tensor | None = None,
    iteration: Iteration | None = None,
    block: int | Tensor | None = None,
    rounds: int = 0,
    target: Tensor | None = None,
    other_starts: Sequence[Tensor] = (),
    input_norm: Norm | None = None,
    perturbation: float | None = None,
    generator: Generator | None = None,
) -> Curve:
    """Slopes, errors, residuals and costs of the iterates of an operator.

    Args:
        operator: the operator, or any function or module `(y, x) -> y`.
        x: inputs, a tensor or a nest of tensors with one batch axis.
        steps: the last iteration, or the iterations to look at, increasing.
        y0: start; the operator's own initial state where `None`.
        iteration: a solver, such as `KrasnoselskiiMann(0.5)`; Picard's iteration where `None`.
        block: how many tangents, or the tangents themselves, shape `(K, n)` over the flattened input; where `None` the whole input
            space up to 8 coordinates, and 4 orthonormal random directions beyond.
        rounds: times the block is replaced by the one on which the last iterate is steepest (subspace iteration with the transpose);
            each costs about as much as the curve and keeps all states. Not for iterations that adapt.
        target: what the iterates should be, shape of the states, for errors.
        other_starts: further starts, to see whether the end depends on the start.
        input_norm: norm on the flattened input; the operator's input metric if that is a norm, else Euclidean.
        perturbation: length of the pairs that are run where the iteration adapts, relative to `1 + |x|`; where `None`, 16 times the root
            of the unit roundoff (1.7e-7 in float64, 0.004 in float32, 0.35 in float16). Longer pairs lose less to rounding, shorter
            ones say more of the sample itself. In bfloat16 rounding would account for everything, which is refused.
        generator: of the random directions; the same ones every time where `None`.

    Returns:
        The curve. Cost: `steps` evaluations with tangents, at most three times the evaluations of as many samples as the block is wide.

    Raises:
        InputError: steps that are not increasing, weights that do not average, or options that do not go together.
        ShapeError: starts, tangents or targets of the wrong shape.
        NonFiniteError: an input, a start or the target is not finite.
        GradientUnavailableError: the operator has no derivative in its input.
        BoundOrderError: a lower side exceeds the upper side, so the operator's constants are wrong.

    Theorem: T4, T4b.

    Example:
        >>> import torch
        >>> found = curve(lambda y, x: 0.5 * y + x, torch.ones(1, 1).double(), 3, y0=torch.zeros(1, 1).double())
        >>> [round(v, 4) for v in found.lower[:, 0].tolist()]
        [0.0, 1.0, 1.5, 1.75]
    """
    if torch.is_inference_mode_enabled():  # where tangents are lost without a word
        with torch.inference_mode(mode=False):
            return curve(
                operator,
                copied(x),
                steps,
                y0=copied(y0),
                iteration=iteration,
                block=copied(block),
                rounds=rounds,
                target=copied(target),
                other_starts=copied(list(other_starts)),
                input_norm=input_norm,
                perturbation=perturbation,
                generator=generator,
            )
    wanted = _wanted(steps)
    G = as_operator(operator)
    x = map_tensors(torch.Tensor.detach, x)
    start = (G.initial_state(copied(x)) if y0 is None else y0).detach()
    batch = batch_of("y0", start).shape[0]
    for name, t in tensors(x):
        if t.dtype.is_floating_point:
            require_finite(name, t, "remove or repair that sample")
    _same("target", target, start)
    for other in other_starts:
        _same("other_starts", other, start)
    if perturbation is not None:
        positive("perturbation", perturbation)
    raveled = Raveled(x, batch)
    if raveled.length == 0:
        raise InputError(
            "x", "no floating-point tensor with the batch axis of y0", "an input to vary", "pass x with the batch first"
        )
    regularity = G.regularity
    metric = None if regularity is None else regularity.input_metric
    norm_in = input_norm or (metric if isinstance(metric, Norm) else Euclidean())
    made = input_block(raveled.flat(x), block, norm_in, generator)
    if made.spans and not _has_operator_norm(norm_in, G.norm, raveled.length, start[0].numel()):
        made = replace(made, spans=False)  # columns are all that can be measured
    if rounds and not isinstance(made.norm, Euclidean):
        raise InputError("rounds", str(rounds), "0 in norms other than l2", "pass the tangents as block=")
    task = Task(G, x, start, wanted, iteration, made, target, other_starts)
    weights = averaging_of(iteration, wanted[-1])
    if weights is None and rounds:
        raise InputError("rounds", str(rounds), "0 where the iteration adapts", "use Picard or an averaged iteration")
    given = y0 is not None
    try:
        return _run(replace(task, G=Watching(G)), weights, rounds, perturbation, given=given)
    except WorksInPlaceError:
        return _run(replace(task, G=OnCopies(G)), weights, rounds, perturbation, given=given)


def _run(task: Task, weights: Averaging | None, rounds: int, perturbation: float | None, *, given: bool) -> Curve:
    """Follow the iteration, on copies of all that an operator could change.

    Returns:
        The curve.
    """
    block = replace(
        task.block, directions=task.block.directions.clone()
    )  # tangents of what is changed are changed with it
    others = copied(list(task.other_starts))
    task = replace(task, x=copied(task.x), start=copied(task.start), block=block, other_starts=others)
    if weights is not None:
        return curve_by_tangents(task, weights, rounds, given=given)
    return curve_by_pairs(task, perturbation, given=given)


def _has_operator_norm(norm: Norm, output_norm: Norm, n: int, m: int) -> bool:
    try:
        matrix_norm_upper_bound(torch.zeros(m, n), norm, output_norm=output_norm)
    except InputError:
        return False
    return True


def _wanted(steps: int | Sequence[int]) -> list[int]:
    if isinstance(steps, int) and not isinstance(steps, bool):
        return list(range(count("steps", steps, "pass for example steps=100") + 1))
    wanted = [int(t) for t in steps] if isinstance(steps, Sequence) else []
    if not wanted or wanted[0] < 0 or any(later <= sooner for sooner, later in pairwise(wanted)):
        raise InputError(
            "steps", str(steps)[:60], "an integer >= 1 or increasing integers >= 0", "pass for example steps=100"
        )
    return wanted


def _same(name: str, given: Tensor | None, start: Tensor) -> None:
    if given is None:
        return
    if isinstance(given, Tensor) and given.shape != start.shape:
        raise ShapeError(name, f"shape {tuple(given.shape)}", f"that of the states, {tuple(start.shape)}", "reshape it")
    batch_of(name, given)
