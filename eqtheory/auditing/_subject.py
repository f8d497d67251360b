"""What is audited: an operator, samples of states and inputs, and the region the audit speaks about."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz import Box, Region
from eqtheory.nests import Raveled, map_tensors, take, tensors
from eqtheory.norms import Euclidean, Norm
from eqtheory.operators import ImplicitOperator, as_operator
from eqtheory.roundoff import Rounding
from eqtheory.validate import count, require_finite

__all__ = ["Sampler", "Subject", "decades", "subject_of"]

Sampler = Callable[[int, Generator], tuple[Tensor, Any]]
"""`(n, generator)` to `n` states and the inputs that belong to them."""

_DECADES = 6


@final
@dataclass(frozen=True, eq=False)
class Subject:
    """One operator and where it is looked at.

    Args:
        function: as it was handed in.
        G: the same as an operator.
        y: sampled states, shape `(n, ...)`.
        x: sampled inputs, a nest.
        states: where states may go.
        inputs: where flattened inputs may go.
        norm: norm on the states.
        input_norm: norm on the flattened inputs.
        rounding: evaluation errors, where declared.
        given: whether the regions of states and of inputs were given, rather than read off the samples.
    """

    function: Any
    G: ImplicitOperator
    y: Tensor
    x: Any
    states: Region
    inputs: Region
    norm: Norm
    input_norm: Norm
    rounding: Rounding | None
    given: tuple[bool, bool]

    @property
    def raveled(self) -> Raveled:
        """How inputs are read as vectors."""
        return Raveled(self.x, self.y.shape[0])

    @property
    def flat(self) -> Tensor:
        """The inputs as vectors, shape `(n, k)`."""
        return self.raveled.flat(self.x)

    @property
    def rows(self) -> Tensor:
        """Numbers of the samples as a column, shape `(n, 1)`: they carry what is no coordinate of an input, such as labels and masks."""
        return torch.arange(self.y.shape[0], dtype=self.flat.dtype, device=self.y.device).unsqueeze(1)

    @property
    def labelled(self) -> bool:
        """Whether inputs have parts of their own for every sample that are no coordinates."""
        n = self.y.shape[0]
        return any(t.ndim and t.shape[0] == n and not t.dtype.is_floating_point for _, t in tensors(self.x))

    def at(self, y: Tensor, flat: Tensor, rows: Tensor | None = None) -> Tensor:
        """Evaluate at flattened inputs.

        Args:
            y: states, shape `(k, ...)`.
            flat: inputs as vectors, shape `(k, ...)`.
            rows: number of the sample that supplies what is no coordinate, shape `(k,)` or `(k, 1)`; the first one where `None`.

        Returns:
            `G(y, x)`.
        """
        if rows is None:
            index = torch.zeros(flat.shape[0], dtype=torch.int64, device=flat.device)
        else:
            index = rows.detach().reshape(-1).round().long()
        return self.G(y, self.raveled.nest(flat, index))

    def keep(self, rows: Tensor) -> Subject:
        """Look at some samples only.

        Args:
            rows: which ones, booleans, shape `(n,)`.

        Returns:
            The same subject with fewer samples.
        """
        index = rows.nonzero().reshape(-1)
        return replace(self, y=self.y[index], x=take(self.x, index, self.y.shape[0]))


def subject_of(
    operator: Any,
    sampler: Sampler | tuple[Tensor, Any],
    samples: int,
    domain: Any,
    norm: Norm | None,
    generator: Generator,
) -> Subject:
    """Draw samples and find out where the operator may be looked at.

    Args:
        operator: the operator, a function or a module `(y, x) -> y`.
        sampler: draws states and inputs, or a pair of both.
        samples: how many.
        domain: `(states, inputs)`, each a region, a pair `(low, high)`, or `None` for the box of the samples; `None` for both.
        norm: norm on the states; the operator's own where `None`.
        generator: source of randomness.

    Returns:
        The subject.

    Raises:
        InputError: the sampler does not give states and inputs as tensors.
        ShapeError: they do not share the batch axis.
    """
    if not callable(operator):
        raise InputError(
            "operator", type(operator).__name__, "a callable (y, x) -> y", "pass an operator, a function or a Module"
        )
    count("samples", samples, "pass for example samples=256")
    draw = sampler if callable(sampler) else _fixed(sampler)
    y, x = _checked(draw(_unmistakable(draw, samples) if callable(sampler) else samples, generator))
    operator = _copied(operator)
    G = as_operator(operator)
    declared = G.regularity
    metric = None if declared is None else declared.input_metric
    states, inputs = (None, None) if domain is None else domain
    flat = Raveled(x, y.shape[0]).flat(x)
    chosen = norm or (G.norm if isinstance(G.norm, Norm) else Euclidean())
    allowed, within = _region("states", states, y), _region("inputs", inputs, flat)
    # Samples outside a domain that was given say nothing about it.
    y = allowed.project(y)
    x = Raveled(x, y.shape[0]).nest(within.project(flat)) if flat.shape[1] else x
    return Subject(
        function=operator,
        G=G,
        y=y,
        x=x,
        states=allowed,
        inputs=within,
        norm=chosen,
        input_norm=metric if isinstance(metric, Norm) else Euclidean(),
        rounding=None if declared is None else declared.rounding,
        given=(states is not None, inputs is not None),
    )


def decades(subject: Subject, generator: Generator) -> Subject:
    """Add samples drawn towards zero, so that every order of magnitude is visited: steep places often lie at the end of a scale.

    Args:
        subject: the subject.
        generator: source of randomness.

    Returns:
        The subject with twice as many samples, those added within the regions.
    """
    y, flat, n = subject.y, subject.flat, subject.y.shape[0]
    powers = torch.rand(2, n, generator=generator, dtype=torch.float64).to(y.device)
    alone = torch.rand(2, n, generator=generator, dtype=torch.float64).to(y.device) < 0.3
    factors = torch.where(alone, 1.0, 10.0 ** (-_DECADES * powers))
    near = subject.states.project(y * factors[0].to(y.dtype).reshape(-1, *[1] * (y.ndim - 1)))
    close = subject.inputs.project(flat * factors[1].to(flat.dtype).unsqueeze(1)) if flat.shape[1] else flat
    rows = torch.arange(n, device=y.device).repeat(2)
    x = subject.raveled.nest(torch.cat([flat, close]), rows)
    return replace(subject, y=torch.cat([y, near]), x=x)


def _copied(operator: Any) -> Any:
    """Modules are audited on a copy, so that running statistics and other buffers stay what they were.

    Returns:
        The copy; the operator itself where there is nothing to copy, or it cannot be.
    """
    if not isinstance(operator, torch.nn.Module):
        return operator
    try:
        return copy.deepcopy(operator)
    except (RuntimeError, TypeError):
        return operator


def _unmistakable(draw: Sampler, samples: int) -> int:
    """A number of samples that no shared tensor has as its first length, lest weights be taken for a batch.

    Returns:
        `samples`, or a little more.
    """
    probe = torch.Generator().manual_seed(0)
    try:
        drawn = [[t for _, t in tensors(draw(n, probe)[1])] for n in (2, 3)]
    except (RuntimeError, ValueError, TypeError, IndexError):  # a sampler that does not like small numbers
        return samples
    shared = {a.shape[0] for a, b in zip(*drawn, strict=False) if a.ndim and a.shape == b.shape}
    while samples in shared:
        samples += 1
    return samples


def _fixed(pair: Any) -> Sampler:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise InputError(
            "sampler", type(pair).__name__, "a callable (n, generator) -> (y, x), or a pair (y, x)", "pass one of both"
        )
    y, x = pair
    if not isinstance(y, Tensor) or y.ndim == 0:
        came = "a tensor without axes" if isinstance(y, Tensor) else type(y).__name__
        raise InputError("sampler", f"states that are {came}", "a tensor (n, ...)", "wrap them in torch.as_tensor(...)")

    def draw(n: int, generator: Generator) -> tuple[Tensor, Any]:  # noqa: ARG001  (the samples are what they are)
        have = len(y)
        index = torch.arange(min(n, have))
        return y[index], take(x, index, have)

    return draw


def _checked(drawn: Any) -> tuple[Tensor, Any]:
    if not isinstance(drawn, (tuple, list)) or len(drawn) != 2 or not isinstance(drawn[0], Tensor):
        raise InputError("sampler", type(drawn).__name__, "a pair: states, a tensor, and inputs", "return (y, x)")
    y, x = drawn
    if y.ndim == 0 or not y.dtype.is_floating_point:
        raise ShapeError(
            "sampler",
            f"states of shape {tuple(y.shape)} and type {y.dtype}",
            "floating-point (n, ...)",
            "return (y, x)",
        )
    if y.numel() == 0:
        raise ShapeError(
            "sampler", f"states of shape {tuple(y.shape)}", "at least one entry", "draw at least one sample"
        )
    for where, t in [("y", y), *tensors(x)]:
        if t.dtype.is_floating_point:
            require_finite(f"sampler's {where}", t, "draw finite states and inputs")
    batched = [t for _, t in tensors(x) if t.ndim and t.shape[0] == y.shape[0]]
    if not batched and any(True for _ in tensors(x)):
        raise ShapeError(
            "sampler",
            "inputs without the batch axis of the states",
            f"({y.shape[0]}, ...)",
            "repeat them for every state",
        )
    return y.detach(), map_tensors(torch.Tensor.detach, x)


def _region(name: str, given: Any, samples: Tensor) -> Region:
    if isinstance(given, Region):
        return given
    if given is None:
        return Box.around(samples) if samples.numel() else Box(0.0, 0.0)
    if isinstance(given, (tuple, list)) and len(given) == 2:
        return Box(given[0], given[1])
    raise InputError(
        name, repr(given)[:60], "a region, a pair (low, high), or None", "pass for example domain=((-1, 1), (0, 1))"
    )
