"""One batched problem with everything that is known about it, and the operator all families share.

Every family is `G(y, x) = C x + T(y - C x)` with `T(0) = 0`, so that `C x` is a fixed point at every input, and `G(C x, x) = C x`
holds to the last bit: the difference is zero, and so is its image. If `T` is `t`-Lipschitz,

    |G(y1,x) - G(y2,x)| = |T(y1 - C x) - T(y2 - C x)| <= t |y1 - y2|,
    |G(y,x) - G(y,x')| <= |C (x - x')| + t |C (x - x')| <= (1 + t) |C| |x - x'|,

so `L0 = (1 + t) |C|` and `L1 = 0`, and the first constant is `t` exactly. Where `T = A` is linear, `L0 = |(I - A) C|` exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.norms import Norm
from eqtheory.operators import ImplicitOperator, Regularity
from eqtheory.roundoff import Rounding, gamma
from eqtheory.testing.matrices import operator_norm

__all__ = ["Centred", "Instance", "Step", "assembled", "exact", "generator_of", "product", "raised", "regular"]

Step = Callable[[Tensor], Tensor]
"""A map of states, shape `(batch, n)`, that keeps zero."""


@dataclass(frozen=True, eq=False, repr=False)
class Instance:
    """A batched problem: one operator, two batches of inputs, two of states, and the constants that are true of it.

    Args:
        operator: `G(y, x)`; its `regularity` is declared wherever it has one.
        inputs: two batches of inputs, row by row a pair.
        states: two batches of states, row by row a pair.
        regime: where it comes from, in a few words.
        constants: what is known, by name: for example `contraction_factor`, `averagedness`, `strong_monotonicity`, `period`.
        solution: fixed points at `inputs[0]`, where they are known.
        underlying: the map the operator was made from, `(v) -> T(v)`: monotone for resolvents, nonexpansive for averages.
        seed: from which the numbers were drawn.
        local: the contraction factor, where it depends on the input.
    """

    operator: ImplicitOperator
    inputs: tuple[Tensor, Tensor]
    states: tuple[Tensor, Tensor]
    regime: str
    constants: Mapping[str, Bound]
    solution: Tensor | None = None
    underlying: Step | None = None
    seed: int = 0
    local: LocalBound | None = None

    def __len__(self) -> int:
        return self.states[0].shape[0]

    @property
    def x(self) -> Tensor:
        """The first batch of inputs."""
        return self.inputs[0]

    @property
    def y(self) -> Tensor:
        """The first batch of states."""
        return self.states[0]

    @property
    def regularity(self) -> Regularity | None:
        """What the operator declares, if it is regular."""
        return self.operator.regularity

    def value(self, name: str) -> Any:
        """Look one constant up.

        Args:
            name: its name in `constants`.

        Returns:
            The number it bounds or is.
        """
        return self.constants[name].value

    def describe(self, index: int) -> str:
        """Describe one row in a line, as a witness.

        Args:
            index: which one.

        Returns:
            Regime, constants, inputs and states.
        """
        i = index % len(self)
        known = ", ".join(f"{name} {bound.value}" for name, bound in self.constants.items())
        rows = {"x": self.inputs[0], "x'": self.inputs[1], "y1": self.states[0], "y2": self.states[1]}
        shown = ", ".join(f"{name} = {rows[name][i].tolist()}" for name in rows)
        return f"{self.regime} (seed {self.seed}); {known}; {shown}"

    def __repr__(self) -> str:
        known = ", ".join(f"{name} {bound.value}" for name, bound in self.constants.items())
        return f"<Instance {self.regime}: {known}; {len(self)} states of shape {tuple(self.y.shape[1:])}, seed {self.seed}>"


def generator_of(seed: int) -> torch.Generator:
    """A generator of its own for one instance.

    Args:
        seed: any non-negative integer.

    Returns:
        The generator.
    """
    return torch.Generator().manual_seed(seed)


def exact(value: Any, *, norm: Norm | None = None, assumptions: tuple[str, ...] = ()) -> Bound:
    """A constant that is known because the operator was built around it.

    Args:
        value: the number.
        norm: in which it is measured, if any.
        assumptions: what it still rests on.

    Returns:
        An exact, proved value.
    """
    return Bound(value, Side.EXACT, "construction", Evidence.PROVED, norm.name if norm else "", assumptions)


def product(A: Tensor, v: Tensor) -> Tensor:
    """Apply a matrix to every row by entrywise products and sums.

    A library's matrix product may depend on the size of the batch in its last bits; this does not.

    Args:
        A: shape `(n, n)`.
        v: shape `(batch, n)`.

    Returns:
        Shape `(batch, n)`.
    """
    return (A * v.unsqueeze(1)).sum(dim=2)


@final
class Centred(ImplicitOperator):
    """`G(y, x) = C x + T(y - C x)`, with fixed point `C x`.

    Args:
        step: the map `T`, with `T(0) = 0`.
        centre: the matrix `C`, shape `(n, n)`.
        regularity: constants, where `T` contracts.
    """

    def __init__(self, step: Step, centre: Tensor, regularity: Regularity | None = None) -> None:
        self.step, self.centre, self.regularity = step, centre, regularity

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        c = self.fixed_point(x)
        return c + self.step(y - c)

    def fixed_point(self, x: Any) -> Tensor:
        """The fixed point `C x`.

        Args:
            x: inputs, shape `(batch, n)`.

        Returns:
            States, shape `(batch, n)`.
        """
        return product(self.centre.to(x.dtype), x)

    def initial_state(self, x: Any) -> Tensor:
        """Start from zero.

        Args:
            x: inputs, shape `(batch, n)`.

        Returns:
            Zeros like `x`.
        """
        return torch.zeros_like(x)


def raised(n: int) -> float:
    """By what the rounding of stored matrices may raise a Lipschitz constant.

    A stored factor of a matrix product differs by `gamma_n` and is orthogonal to a few `n^2` roundings; norms add `n`.

    Args:
        n: length of a state.

    Returns:
        A factor a little above one.
    """
    return 1 + gamma(16 * n * n + 16, torch.float64)


def regular(t: float, C: Tensor, norm: Norm, *, weight: float, A: Tensor | None) -> Regularity:
    """What `C x + T(y - C x)` promises if `T` is `t`-Lipschitz, raised by the rounding of the stored matrices.

    One evaluation: `C x` errs by `gamma_n | |C| | |x|`, the difference by two roundings more, `T` by its own `n + 6` roundings on terms
    of size `weight |y - C x|`, and all of it is carried on by the factor `weight`.

    Args:
        t: Lipschitz constant of `T`, below 1.
        C: the centre matrix, shape `(n, n)`.
        norm: of states and inputs.
        weight: operator norm of the matrix of sizes `|T|`, at least 1 is taken: terms of one evaluation of `T` over the state's.
        A: the matrix of `T` where it is linear.

    Returns:
        Upper bounds with proved evidence.
    """
    n = C.shape[0]
    raise_by = raised(n)
    size = float(operator_norm(C.abs().unsqueeze(0), norm))
    slope = (1 + t) * float(operator_norm(C.unsqueeze(0), norm))
    if A is not None:
        slope = float(operator_norm(((torch.eye(n, dtype=A.dtype) - A) @ C).unsqueeze(0), norm))
    terms = max(weight, 1.0)

    def upper(value: float) -> Bound:
        return Bound(value, Side.UPPER, "construction, raised by its rounding", Evidence.PROVED, norm.name)

    # The difference (I - A) C is rounded relative to its terms, not to itself.
    budget = slope + (raise_by - 1) * (1 + t + terms) * size
    rounding = Rounding((n + 8) * terms, lambda x: (2 * n + 8) * (1 + terms) * size * norm(x))
    return Regularity(upper(t * raise_by), upper(budget), upper(0.0), norm, norm, rounding)


def assembled(
    step: Step,
    *,
    size: int,
    batch: int,
    scale: float,
    seed: int,
    regime: str,
    constants: Mapping[str, Bound],
    norm: Norm,
    factor: float | None = None,
    weight: float = 1.0,
    linear: Tensor | None = None,
    underlying: Step | None = None,
) -> Instance:
    """Put a step at a moving centre and draw pairs of inputs and states around it.

    Half of the states are within `scale` of the fixed point, the others far; distances within a pair go from `10^-4 scale` to
    `scale`.

    Args:
        step: the map `T`.
        size: length of states and inputs.
        batch: number of rows.
        scale: of the states.
        seed: of the numbers.
        regime: label.
        constants: what is known.
        norm: in which the constants hold.
        factor: Lipschitz constant of `T` if it is below 1.
        weight: see `regular`.
        linear: the matrix of `T` where it is linear.
        underlying: the map `T` was made from.

    Returns:
        The instance.
    """
    g = generator_of(seed + 1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    def moved(t: Tensor) -> Tensor:
        return t + scale * 10.0 ** (-4 * torch.rand(batch, 1, generator=g, dtype=torch.float64)) * draw(batch, size)

    C = draw(size, size) / size
    regularity = None if factor is None else regular(factor, C, norm, weight=weight, A=linear)
    operator = Centred(step, C, regularity)
    x = scale * draw(batch, size)
    spread = torch.where((torch.arange(batch) % 2 == 0).unsqueeze(1), 1.0, 10.0)
    y = operator.fixed_point(x) + scale * spread * draw(batch, size)
    solution = operator.fixed_point(x)
    return Instance(operator, (x, moved(x)), (y, moved(y)), regime, constants, solution, underlying, seed)
