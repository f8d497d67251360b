"""Curves that were once wrong, or said more than they knew; each test failed before its repair."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Bound, Bracket, Evidence, LocalBound, Side
from eqtheory.constructions import Reciprocal
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import Shape, curve
from eqtheory.norms import Euclidean, Weighted
from eqtheory.operators import Encoded, ImplicitOperator, Regularity, Relaxed
from eqtheory.solvers import Anderson, Broyden, Halpern, KrasnoselskiiMann, NewtonKrylov, Picard

ONE = torch.ones(1, 1).double()


def declared(value: Any) -> Bound:
    return Bound(value, Side.UPPER, "by hand", Evidence.DECLARED, "l2")


def double(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# The upper side needs a factor that bounds what happens next to a sample.


class Squeezed(ImplicitOperator):
    """`.9 clip(y, -|x|, |x|) + x sin(20 log|x|) / 2`: contractive by .9, and by 0 at `x = 0`, where `mu` jumps down.

    `|dG/dx| <= .9 + (1 + 20) / 2 = 11.4`, so `L0 = 11.45` and `L1 = 0` hold. Next to zero slopes accumulate over the steps; the
    recursion with `mu(0) = 0` would allow 11.45 after every number of steps.
    """

    def __init__(self, mu: Bound | LocalBound) -> None:
        self.regularity = Regularity(mu, declared(11.45), declared(0.0), Euclidean(), Euclidean())

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        size = x.abs()
        safe = torch.where(size > 0, size, 1.0)
        return 0.9 * torch.maximum(torch.minimum(y, size), -size) + x * torch.sin(20 * safe.log()) / 2

    def initial_state(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def jumps_down(x: Tensor) -> Tensor:
    return torch.where(x == 0, 0.0, 0.9).to(x.dtype)


def test_a_factor_that_is_smaller_at_a_sample_than_next_to_it_bounds_nothing() -> None:
    steps, near = 40, torch.logspace(-9, -3, 4001, dtype=torch.float64)
    slopes = curve(Squeezed(declared(0.9)), near, steps).worst()
    assert float(slopes[-1]) > 15  # what a local modulus at zero is at least
    found = curve(Squeezed(LocalBound(jumps_down, Side.EXACT, "by hand", Evidence.DECLARED, "l2")), double(0.0), steps)
    assert found.upper is None
    assert "mu depends on the input and is not known to be upper semicontinuous" in found.assumptions[0]
    assert "pass LocalBound(..., semicontinuous=True) if it is" in found.assumptions[0]
    assert isinstance(found.at(steps), Bound)
    # One number that holds everywhere is not concerned, and a factor that says so is taken at its word.
    uniform = curve(Squeezed(declared(0.9)), double(0.0), steps).upper
    assert uniform is not None
    assert float(uniform[-1]) >= float(slopes[-1])
    continuous = LocalBound(lambda x: 0.9 + 0 * x, Side.UPPER, "by hand", Evidence.DECLARED, "l2", semicontinuous=True)
    upper = curve(Squeezed(continuous), double(0.0), steps).upper
    assert upper is not None
    assert torch.equal(upper, uniform)


def test_one_number_per_sample_says_nothing_of_inputs_next_to_them() -> None:
    found = curve(Squeezed(declared(double(0.0))), double(0.0), 10)
    assert found.upper is None
    assert "mu is one number per sample" in found.assumptions[0]


def test_constructions_say_that_their_factors_are_continuous_and_combinations_keep_it() -> None:
    x = torch.logspace(-2, 0, 4, dtype=torch.float64)
    G = Reciprocal(0.5)
    identity = Encoded(G, lambda x: x, lipschitz=declared(1.0))
    for operator in (G, Relaxed(G, 0.5), identity, Relaxed(identity, 0.3)):
        found = curve(operator, x, 30)
        assert found.upper is not None
    assert G.regularity is not None
    silent = Reciprocal(0.5)
    silent.regularity = replace(G.regularity, mu=replace(G.regularity.mu, semicontinuous=False))
    for operator in (silent, Relaxed(silent, 0.5), Encoded(silent, lambda x: x, lipschitz=declared(1.0))):
        assert curve(operator, x, 30).upper is None


# Weights have to average.


class Weights(Picard):
    """Picard's iteration that says something else of itself."""

    def __init__(self, weights: Any) -> None:
        self.weights = weights

    def averaging(self, t: int) -> Any:
        return self.weights(t)


@pytest.mark.parametrize(
    ("weights", "came"),
    [
        (lambda _: (2.0, 0.0, -1.0), r"\(2.0, 0.0, -1.0\) at step 0"),
        (lambda t: (0.0, 0.0, 1.0 + 1e-9 * (t == 2)), r"\(0.0, 0.0, 1.000000001\) at step 2"),
        (lambda _: (0.5, 0.5), r"\(0.5, 0.5\) at step 0"),
        (lambda _: (float("nan"), 0.0, 1.0), r"\(nan, 0.0, 1.0\) at step 0"),
        (lambda t: (0.0, 0.0, 1.0) if t < 2 else None, r"weights at step 0 and None at step 2"),
        (lambda t: None if t < 2 else (0.0, 0.0, 1.0), r"weights at step 2 and None at step 0"),
    ],
)
def test_weights_that_do_not_average_are_refused(weights: Any, came: str) -> None:
    with pytest.raises(InputError, match=r"iteration.averaging: got " + came):
        curve(lambda y, x: 0.5 * y + x, ONE, 4, y0=0 * ONE, iteration=Weights(weights))


@pytest.mark.parametrize(
    "iteration", [Picard(), KrasnoselskiiMann(0.1), KrasnoselskiiMann(1 / 3), Halpern(restart=None)]
)
def test_weights_that_average_up_to_rounding_are_taken(iteration: Any) -> None:
    assert curve(lambda y, x: 0.5 * y + x, ONE, 300, y0=0 * ONE, iteration=iteration).exact
    thirds = Weights(lambda t: (1 - 1 / (t + 3) - 0.1, 0.1, 1 / (t + 3)))
    assert curve(lambda y, x: 0.5 * y + x, ONE, 300, y0=0 * ONE, iteration=thirds).exact


# Pairs are what they are.


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_pairs_of_narrow_types_see_something(dtype: torch.dtype) -> None:
    x = torch.ones(2, 1, dtype=dtype)
    found = curve(lambda y, x: 0.5 * y + x, x, 8, y0=torch.zeros_like(x), iteration=Anderson(1))
    assert bool((found.lower[1:] > 0.1).all())
    assert bool((found.lower <= 2 * (1 + 1e-6)).all())
    if dtype != torch.float16:
        assert bool((found.lower[2:] > 1.9).all())


def test_states_narrower_than_the_inputs_are_given_their_own_roundings() -> None:
    """Values rounded to single precision have steps of 6e-8 under an input in double: on pairs 1e-8 apart they are all there is."""
    x = torch.linspace(1, 2, 400, dtype=torch.float64).unsqueeze(1)
    y0 = torch.zeros(400, 1, dtype=torch.float32)
    found = curve(lambda y, x: (0.0 * y + x).float(), x, 3, y0=y0, iteration=Anderson(1), perturbation=1e-8)
    assert bool((found.lower <= 1).all())


def test_types_whose_rounding_accounts_for_every_slope_are_refused() -> None:
    x = torch.ones(2, 1, dtype=torch.bfloat16)
    message = "x, y0: got torch.bfloat16 and torch.bfloat16, with a unit roundoff of 0.0039 inside, needed a type in which slopes"
    with pytest.raises(InputError, match=message):
        curve(lambda y, x: 0.5 * y + x, x, 8, y0=torch.zeros_like(x), iteration=Anderson(1))


def test_pairs_do_not_pass_for_derivatives() -> None:
    pairs = curve(lambda y, x: 0.5 * y + x, ONE, 4, y0=0 * ONE, iteration=Anderson(1), perturbation=0.25).at(4)
    assert isinstance(pairs, Bound)
    assert "pairs of x and x + 0.25 (1 + |x|) w" in pairs.method
    (rests_on,) = pairs.assumptions
    assert (
        "y_t is taken to be known to 64 unit roundoffs (of the coarsest type inside) of its size and that of x"
        in rests_on
    )
    tangents = curve(lambda y, x: 0.5 * y + x, ONE, 4, y0=0 * ONE).at(4)
    assert isinstance(tangents, Bound)
    assert "differentiable at the samples" in tangents.assumptions[0]
    # A pair across a kink is steeper than the map is at its end: it bounds the constant over the pair, not the local modulus.
    far = curve(
        lambda y, x: 0.0 * y + torch.relu(x - 1.1), ONE, 3, y0=0 * ONE, iteration=Anderson(1), perturbation=0.25
    )
    assert float(far.lower[-1]) > 0.7


# What comes in, and what it costs.


def test_targets_and_other_starts_have_to_be_finite() -> None:
    def G(y: Tensor, x: Tensor) -> Tensor:
        return 0.5 * y + x

    nan = ONE * torch.nan
    with pytest.raises(NonFiniteError, match=r"target: got nan at index \(0, 0\)"):
        curve(G, ONE, 3, y0=0 * ONE, target=nan)
    with pytest.raises(NonFiniteError, match=r"other_starts: got nan at index \(0, 0\)"):
        curve(G, ONE, 3, y0=0 * ONE, other_starts=[ONE, nan])
    with pytest.raises(InputError, match=r"target: got dtype torch.int64"):
        curve(G, ONE, 3, y0=0 * ONE, target=torch.ones(1, 1, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"other_starts: got shape \(1,\)"):
        curve(G, ONE, 3, y0=0 * ONE, other_starts=[torch.ones(1)])


def test_rounds_and_products_are_counted() -> None:
    x = torch.ones(2, 12).double()

    def G(y: Tensor, x: Tensor) -> Tensor:
        return 0.5 * torch.tanh(y) + x

    plain = curve(G, x, 10, y0=torch.zeros_like(x), block=3)
    refined = curve(G, x, 10, y0=torch.zeros_like(x), block=3, rounds=2)
    assert plain.evaluations.tolist() == [4 * (t + 1) for t in range(11)]
    # Two rounds of ten steps: a value and three tangents on the way there, a value and three products on the way back.
    assert (refined.evaluations - plain.evaluations).tolist() == [2 * 10 * 8] * 11
    newton = curve(G, x, 5, y0=torch.zeros_like(x), block=1, iteration=NewtonKrylov())
    assert int(newton.evaluations[-1]) > 2 * 6


# Norms are told apart.


def test_brackets_have_one_norm() -> None:
    one, other = Weighted(double(1.0, 2.0)), Weighted(double(1.0, 3.0))
    lower, upper = (
        Bound(v, side, "m", Evidence.PROVED, norm.name)
        for v, side, norm in ((1.0, Side.LOWER, one), (2.0, Side.UPPER, other))
    )
    with pytest.raises(InputError, match=r"upper: got a bound in weighted l2 #\w{8}, needed one in weighted l2 #\w{8}"):
        Bracket(lower, upper)
    Bracket(lower, replace(upper, norm=Weighted(torch.tensor([1.0, 2.0])).name))
    Bracket(lower, replace(upper, norm=""))


def test_weighted_norms_are_equal_by_value() -> None:
    one, same, other = (Weighted(double(1.0, w)) for w in (2.0, 2.0, 3.0))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != Euclidean()

    class Stretched(ImplicitOperator):
        def __init__(self) -> None:
            self.regularity = Regularity.declared(mu=0.5, L0=1.0, L1=0.0, state_norm=one, input_metric=one)

        def __call__(self, y: Tensor, x: Tensor) -> Tensor:
            return 0.5 * y + x

        def initial_state(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

    x = torch.ones(1, 2).double()
    assert curve(Stretched(), x, 3, input_norm=same).upper is not None
    assert curve(Stretched(), x, 3, input_norm=other).upper is None


def test_slopes_of_pairs_are_estimates_since_rounding_grows_with_the_condition() -> None:
    """`y - 1e-4 (y - x)` has slopes of at most 1 in `x`; rounding makes more of them, times `1 / (1 - mu) = 1e4`."""
    x = torch.randn(32, 1, generator=torch.Generator().manual_seed(0))
    found = curve(lambda y, x: y - 1e-4 * (y - x), x, [2, 5, 50], y0=0 * x, iteration=Anderson())
    assert float(found.worst().max()) > 1  # what rounding does
    end = found.at(50)
    assert isinstance(end, Bound)
    assert end.side is Side.ESTIMATE
    assert end.evidence is found.evidence is Evidence.ESTIMATED
    assert "condition" in str(end)
    assert ">=" not in str(found)
    assert found.to_dict()["evidence"] == "estimated from samples"
    proved = curve(lambda y, x: 0.5 * y + x, ONE, 4, y0=0 * ONE)
    assert proved.evidence is Evidence.PROVED


# Pairs of runs of which one has left the range.


def leaves(y: Tensor, x: Tensor) -> Tensor:
    """Not finite beyond `x_1 = 1`, and of slope 3 in `x_2`."""
    return 0.5 * y + torch.where(x[:, :1] > 1, torch.inf, x[:, :1]) + 3 * x[:, 1:]


@pytest.mark.parametrize("iteration", [Anderson(), Broyden()])
def test_a_copy_that_leaves_the_range_is_no_longer_compared(iteration: Any) -> None:
    """Once its last state was, and slopes grew without end."""
    y0 = torch.zeros(2, 1).double()
    found = curve(leaves, torch.ones(2, 2).double(), 6, y0=y0, iteration=iteration, block=double([1, 0], [0, 1]))
    assert found.lower[:, 0].tolist() == pytest.approx([0.0, 3.0, *[6.0] * 5], rel=1e-5)
    assert [finding.shape for finding in found.findings] == [Shape.DIVERGENCE]
    alone = curve(leaves, torch.ones(2, 2).double(), 6, y0=y0, iteration=iteration, block=double([1, 0]))
    assert not bool(alone.lower.any())  # nothing is left to compare with
    assert [finding.shape for finding in alone.findings] == [Shape.DIVERGENCE]


@pytest.mark.parametrize("iteration", [Anderson(), Broyden()])
def test_a_sample_that_leaves_the_range_keeps_its_slopes(iteration: Any) -> None:
    """Once its copies went on, away from the state where it had stopped."""
    outside = torch.tensor([[1.0, 1.0], [0.5, 1.0]]).double()
    found = curve(
        lambda y, x: 0.5 * y + torch.where((x[:, :1] == 1) & (y > 2), torch.inf, x[:, :1]) + x[:, 1:],
        outside,
        6,
        y0=torch.zeros(2, 1).double(),
        iteration=iteration,
        block=double([1, 0]),
    )
    assert found.lower[:, 1].tolist() == pytest.approx([0.0, 1.0, *[2.0] * 5], rel=1e-5)
    left = found.lower[:, 0]
    assert bool((left <= 2 * (1 + 1e-5)).all())
    assert float(found.residual[-1, 0]) == torch.inf
