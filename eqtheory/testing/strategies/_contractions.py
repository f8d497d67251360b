"""Contractions of a prescribed factor in several norms; some slow, some that first grow.

`T(v) = A f(v)` with `f` the identity, `tanh` or the positive part, all 1-Lipschitz entrywise and monotone, so `|T| <= |A|` in
every norm that only sees sizes of entries. The constant is `|A|` exactly: `f` is the identity near zero (`tanh' (0) = 1`),
respectively on the positive orthant, where every vector is a difference of two points.

Non-normal: `A = P (a I + c N) P^-1` with `N` the shift, `P` a signed permutation, `a = mu/2`, `c = theta mu/2`. In
`sum_i theta^i |v_i|` each column `j > 0` of `a I + c N` has the factor `a + c / theta = mu`, and the first one `a`; all of it is
exact for powers of two `theta`. The spectral radius is `mu/2`, the Euclidean norm at least `c`, the length of the image of a unit
vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log2

import torch
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import InputError
from eqtheory.norms import BlockSum, Euclidean, Norm, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.testing.matrices import SHAPES, operator_norm, unit_norm, weighted_sum
from eqtheory.testing.strategies._drawing import between, choice, scales, seeds, sizes_in
from eqtheory.testing.strategies._instance import Instance, Step, assembled, exact, generator_of, product
from eqtheory.validate import count

__all__ = ["ACTIVATIONS", "LARGEST_FACTOR", "NORMS", "contractions", "near_one", "non_normal_contractions"]

NormRule = Norm | Callable[[int], Norm]

ACTIVATIONS: dict[str, Step] = {"linear": lambda v: v, "tanh": torch.tanh, "relu": torch.relu}
"""What stands between the matrix and the state."""

LINEAR_SHAPES = ("scalar multiple", *(shape for shape in SHAPES if shape not in ("tanh", "scalar multiple")))
"""Shapes of matrices, the plainest first."""

NORMS: tuple[NormRule, ...] = (Euclidean(), Sup(), Sum(), weighted_sum)
"""Norms with exact operator norms; a rule makes one for each length of the state."""

LARGEST_FACTOR = 1 - 2.0**-40
"""Factors above cannot be told from one by the rounding of the stored matrices."""

_USUAL = (0.5, 0.875, 0.0, 0.99, 1 - 2.0**-10, 1 - 2.0**-20)
_STORED = ("the stored matrix has this norm to a relative gamma(16 n^2 + 16)",)


def _largest(size: int) -> float:
    """Largest factor that stays below one when the rounding of a stored matrix is added."""
    return min(LARGEST_FACTOR, 1 - 4 * gamma(16 * size * size + 16, torch.float64))


def _norm(rule: NormRule, size: int) -> Norm:
    return rule if isinstance(rule, Norm) else rule(size)


def _contraction(
    seed: int, size: int, shape: str, activation: str, rule: NormRule, mu: float, scale: float, batch: int
) -> Instance:
    norm = _norm(rule, size)
    unit = unit_norm(shape, size, 1, generator_of(seed))
    A = mu * (unit / operator_norm(unit, norm).reshape(1, 1, 1))[0]
    f = ACTIVATIONS[activation]

    def step(v: Tensor) -> Tensor:
        return product(A.to(v.dtype), f(v))

    linear = activation == "linear"
    constants = {"contraction_factor": exact(mu, norm=norm, assumptions=_STORED)}
    if linear and shape == "rotation":
        # Eigenvalues of a multiple of an orthogonal matrix are of one size.
        constants["spectral_radius"] = exact(mu / float(operator_norm(unit, norm)), assumptions=_STORED)
    return assembled(
        step,
        size=size,
        batch=batch,
        # tanh is flat far from zero, and rounding of the state enters its slope.
        scale=1.0 if activation == "tanh" else scale,
        seed=seed,
        regime=f"{shape} / {activation} / {norm.name.partition(' #')[0]}",
        constants=constants,
        norm=norm,
        factor=mu,
        weight=float(operator_norm(A.abs().unsqueeze(0), norm)),
        linear=A if linear else None,
    )


def contractions(
    *,
    mu: float | st.SearchStrategy[float] | None = None,
    sizes: tuple[int, int] = (1, 8),
    batch: int = 16,
    norms: Sequence[NormRule] = NORMS,
    shapes: Sequence[str] = LINEAR_SHAPES,
    activations: Sequence[str] = tuple(ACTIVATIONS),
) -> st.SearchStrategy[Instance]:
    """Contractions whose factor is prescribed, with known fixed points and a proved budget.

    The factor is attained: exactly in all of the state space by linear ones, on a cone by `relu`, in the limit of small pairs near
    the fixed point by `tanh`.

    Args:
        mu: the contraction factor, or a strategy for it, in `[0, 1 - 2^-40]`; usual values from 0 to `1 - 2^-20` by default.
        sizes: smallest and largest length of a state.
        batch: rows of inputs and of states.
        norms: norms, or rules that make one from the length of the state; both sides of an operator norm use it.
        shapes: of the matrix: scalar multiple, symmetric, rotation, shift, random.
        activations: linear, tanh, relu.

    Returns:
        A strategy for instances with the constant `contraction_factor`; it shrinks to a linear scalar multiple of small size.

    Raises:
        InputError: a factor, size or regime that is not usable.

    Example:
        >>> from hypothesis import given, settings
        >>> from eqtheory.testing.assertions import assert_regular
        >>> @settings(max_examples=20, database=None, derandomize=True, deadline=None)
        ... @given(instance=contractions(mu=0.5))
        ... def test(instance):
        ...     assert instance.value("contraction_factor") == 0.5
        ...     assert_regular(instance.operator, instance.inputs, instance.states)
        >>> test()
    """
    if not norms:
        raise InputError("norms", "nothing", "at least one norm", "leave it out to draw all of them")
    return st.builds(
        _contraction,
        seed=seeds(),
        size=sizes_in(sizes),
        shape=choice("shapes", shapes, LINEAR_SHAPES),
        activation=choice("activations", activations, tuple(ACTIVATIONS)),
        rule=st.sampled_from(list(norms)),
        mu=between("mu", mu, _USUAL, 0.0, _largest(sizes[1])),
        scale=scales(),
        batch=st.just(count("batch", batch, "pass for example batch=16")),
    )


def near_one(*, sizes: tuple[int, int] = (1, 8), batch: int = 16) -> st.SearchStrategy[Instance]:
    """Contractions with a factor between `1 - 1e-8` and 1, where stopping rules and certificates lose their digits.

    Args:
        sizes: smallest and largest length of a state.
        batch: rows.

    Returns:
        A strategy for instances with the constant `contraction_factor = 1 - 2^-k`, `27 <= k <= 40`; it shrinks to `k = 27`.

    Raises:
        InputError: states so long that the rounding of a matrix hides such factors.

    Example:
        >>> from hypothesis import find
        >>> find(near_one(), lambda instance: True).value("contraction_factor") == 1 - 2.0**-27
        True
    """
    deepest = int(-log2(1 - _largest(sizes[1])))
    if deepest < 27:
        raise InputError("sizes", str(sizes), "states short enough to resolve 1 - 2^-27", "pass sizes=(1, 8)")
    return contractions(mu=st.integers(27, deepest).map(lambda k: 1 - 2.0**-k), sizes=sizes, batch=batch)


def _non_normal(seed: int, size: int, doublings: int, mu: float, scale: float, batch: int) -> Instance:
    g, theta = generator_of(seed), 2.0**doublings
    order = torch.randperm(size, generator=g)
    signs = (torch.randint(0, 2, (size,), generator=g) * 2 - 1).double()
    shift = torch.diag(torch.ones(size - 1, dtype=torch.float64), 1)
    plain = mu / 2 * (torch.eye(size, dtype=torch.float64) + theta * shift)
    # Rows and columns go to new places, and signs with them; entries keep their sizes.
    P = torch.zeros(size, size, dtype=torch.float64)
    P[order, torch.arange(size)] = signs
    A = P @ plain @ P.T
    weights = [0.0] * size
    for position, new in enumerate(order.tolist()):
        weights[new] = theta**position
    norm = BlockSum((1,) * size, tuple(weights), Sup())

    def step(v: Tensor) -> Tensor:
        return product(A.to(v.dtype), v)

    constants = {
        "contraction_factor": exact(mu, norm=norm),
        "spectral_radius": exact(mu / 2),
        "transient": Bound(
            theta * mu / 2, Side.LOWER, "length of the image of a unit vector", Evidence.PROVED, Euclidean().name
        ),
    }
    return assembled(
        step,
        size=size,
        batch=batch,
        scale=scale,
        seed=seed,
        regime=f"non-normal, 2^{doublings}",
        constants=constants,
        norm=norm,
        factor=mu,
        weight=mu,
        linear=A,
    )


def non_normal_contractions(
    *,
    mu: float | st.SearchStrategy[float] | None = None,
    doublings: tuple[int, int] = (2, 10),
    sizes: tuple[int, int] = (2, 5),
    batch: int = 16,
) -> st.SearchStrategy[Instance]:
    """Linear contractions in a weighted norm that expand in the Euclidean one: small spectral radius, large transient.

    Args:
        mu: contraction factor in the weighted norm, in `[0, 1 - 2^-40]`.
        doublings: smallest and largest `k` for weights `2^(k i)`.
        sizes: smallest and largest length of a state, at least 2.
        batch: rows.

    Returns:
        A strategy for instances with the constants `contraction_factor` (in `instance.operator.norm`), `spectral_radius`, which is
        half of it, and `transient`, a lower bound on the Euclidean operator norm.

    Raises:
        InputError: a factor, size or number of doublings that is not usable.

    Example:
        >>> from hypothesis import find
        >>> instance = find(non_normal_contractions(mu=0.5), lambda found: found.value("transient") > 100)
        >>> instance.value("transient"), instance.value("spectral_radius")
        (128.0, 0.25)
    """
    low, high = doublings
    if not 1 <= low <= high <= 50:
        raise InputError("doublings", str(doublings), "(low, high) with 1 <= low <= high <= 50", "pass (2, 10)")
    if high * sizes[1] > 500:
        raise InputError("sizes", str(sizes), f"weights up to 2^500, so at most {500 // high}", "pass (2, 5)")
    return st.builds(
        _non_normal,
        seed=seeds(),
        size=sizes_in(sizes, least=2),
        doublings=st.integers(low, high),
        mu=between("mu", mu, _USUAL, 0.0, _largest(sizes[1])),
        scale=scales(),
        batch=st.just(count("batch", batch, "pass for example batch=16")),
    )
