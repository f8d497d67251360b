"""What the strategies claim of their instances is true: against dense Jacobians, exact identities and the assertions."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from math import gcd
from typing import Any

import pytest
import torch
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.bounds import Side
from eqtheory.errors import InputError, MissingDependencyError
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.operators import Regularity
from eqtheory.roundoff import gamma
from eqtheory.targets import CATALOGUE
from eqtheory.testing import strategies
from eqtheory.testing.assertions import (
    assert_batch_independent,
    assert_contractive,
    assert_deterministic,
    assert_locally_lipschitz,
    assert_monotone,
    assert_nonexpansive,
    assert_regular,
)
from eqtheory.testing.evidence import Refuted
from eqtheory.testing.matrices import operator_norm, weighted_sum
from eqtheory.testing.strategies import (
    CYCLES,
    MONOTONE,
    NONEXPANSIVE,
    NORMS,
    Instance,
    TargetInstance,
    averaged_operators,
    contractions,
    cyclic_operators,
    finite_metric_spaces,
    lipschitz_targets,
    monotone_operators,
    near_one,
    non_normal_contractions,
    pointwise_contractions,
)

MODEST = settings(max_examples=30, deadline=None, derandomize=True, database=None)
FEW = settings(max_examples=15, deadline=None, derandomize=True, database=None)

GENERATE = settings(phases=[Phase.generate], max_examples=100, database=None, derandomize=True)


def some(strategy: st.SearchStrategy[Any], condition: Any = lambda _: True) -> Any:
    """An instance that satisfies a condition, as drawn, without shrinking."""
    return find(strategy, condition, settings=GENERATE)


FAMILIES: dict[str, st.SearchStrategy[Instance]] = {
    "contractions": contractions(),
    "near_one": near_one(),
    "non_normal": non_normal_contractions(),
    "averaged": averaged_operators(),
    "monotone": monotone_operators(),
    "cyclic": cyclic_operators(),
    "pointwise": pointwise_contractions(),
}


def step_of(instance: Instance) -> Any:
    return instance.operator.step  # type: ignore[attr-defined]


def jacobians(step: Any, at: Tensor) -> Tensor:
    """Dense derivatives of a map of rows, shape `(batch, n, n)`."""
    return torch.func.vmap(torch.func.jacrev(lambda v: step(v.unsqueeze(0))[0]))(at)


def slopes(instance: Instance) -> Tensor:
    """Operator norms of dense Jacobians: at the states, near the fixed point, on the positive orthant, and far out."""
    n = instance.y.shape[1]
    ones = torch.ones(1, n, dtype=torch.float64)
    at = torch.cat([instance.y - instance.solution, 1e-9 * ones, ones, 100 * ones])
    return operator_norm(jacobians(step_of(instance), at), instance.operator.norm)


def unit(n: int) -> float:
    """Relative rounding of the stored matrices, twice: once stored, once measured."""
    return 2 * gamma(16 * n * n + 16, torch.float64)


# What holds for all of them.


@pytest.mark.parametrize("family", FAMILIES)
def test_instances_are_batched_deterministic_and_keep_their_fixed_point(family: str) -> None:
    @FEW
    @given(instance=FAMILIES[family])
    def check(instance: Instance) -> None:
        assert len(instance) == 16
        assert all(t.shape == instance.y.shape for t in (*instance.inputs, *instance.states))
        assert instance.solution is not None
        if family == "pointwise":
            gap = (instance.operator(instance.solution, instance.x) - instance.solution).abs()
            assert bool((gap <= gamma(16, torch.float64)).all())
        else:
            assert torch.equal(instance.operator(instance.solution, instance.x), instance.solution)
        assert_deterministic(instance.operator, instance.x, instance.y)
        # Vectorised elementary functions and norms may round differently at the end of a batch.
        bitwise = not any(part in instance.regime for part in ("tanh", "ball", "every input"))
        assert_batch_independent(instance.operator, instance.x, instance.y, bitwise=bitwise)
        assert instance.regime in instance.describe(17)
        assert f"y1 = {instance.y[1].tolist()}" in instance.describe(17)
        assert "16 states of shape" in repr(instance)
        assert "tensor" not in repr(instance)
        if instance.regularity is not None:
            assert_regular(instance.operator, instance.inputs, instance.states)

    check()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_draws_the_same_numbers(family: str) -> None:
    first, second = (some(FAMILIES[family]) for _ in range(2))
    assert torch.equal(first.y, second.y)
    assert torch.equal(first.operator(first.y, first.x), second.operator(second.y, second.x))


def test_the_testing_package_stays_cheap() -> None:
    code = "import sys, eqtheory.testing; print([m for m in ('torch', 'hypothesis', 'numpy', 'pytest') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_without_hypothesis_the_message_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "hypothesis" else real(name, *rest)
    )
    message = re.escape("hypothesis is not installed; it is needed here: pip install 'eqtheory[check]'")
    with pytest.raises(MissingDependencyError, match=message):
        importlib.reload(strategies)


# Contractions.


@MODEST
@given(instance=contractions())
def test_the_factor_of_a_contraction_is_the_norm_of_its_jacobian(instance: Instance) -> None:
    mu, n = instance.value("contraction_factor"), instance.y.shape[1]
    assert instance.constants["contraction_factor"].side is Side.EXACT
    found = float(slopes(instance).amax())
    assert abs(found - mu) <= unit(n) * mu
    assert instance.regularity is not None
    assert found <= instance.regularity.mu.value < 1  # type: ignore[union-attr]


@MODEST
@given(instance=contractions(mu=0.5, activations=["linear"]))
def test_the_budget_of_a_linear_contraction_is_attained(instance: Instance) -> None:
    J = torch.func.vmap(
        torch.func.jacrev(lambda x, y: instance.operator(y.unsqueeze(0), x.unsqueeze(0))[0]), in_dims=(0, 0)
    )(instance.x, instance.y)
    slope, known = float(operator_norm(J, instance.operator.norm).amax()), instance.regularity
    assert known is not None
    assert known.L0.value >= slope
    assert known.L0.value == pytest.approx(slope, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("field", "value"), [("mu", 0.45), ("L0", 0.9)])
def test_claims_that_are_too_small_are_refuted_somewhere(field: str, value: float) -> None:
    def refuted(instance: Instance) -> bool:
        known = instance.regularity
        assert known is not None
        less = {"mu": known.mu.value, "L0": known.L0.value, "L1": 0.0}  # type: ignore[union-attr]
        less[field] = value if field == "mu" else value * less[field]
        claim = Regularity.declared(**less, state_norm=known.state_norm, input_metric=known.input_metric)
        try:
            assert_regular(instance.operator, instance.inputs, instance.states, regularity=claim)
        except Refuted:
            return True
        return False

    found = find(contractions(mu=0.5), refuted, settings=settings(max_examples=100, database=None, derandomize=True))
    assert len(found.y[0]) == 1  # and shrinks


def test_near_one_is_near_one() -> None:
    @FEW
    @given(instance=near_one())
    def check(instance: Instance) -> None:
        mu = instance.value("contraction_factor")
        assert 0 < 1 - mu <= 1e-8
        assert float(slopes(instance).amax()) < 1

    check()


@MODEST
@given(instance=non_normal_contractions())
def test_non_normal_contractions_contract_in_their_norm_only(instance: Instance) -> None:
    n, mu = instance.y.shape[1], instance.value("contraction_factor")
    A = jacobians(step_of(instance), torch.zeros(1, n, dtype=torch.float64))[0]
    # All of it exact: powers of two, and the nilpotent part by its powers.
    assert float(operator_norm(A.unsqueeze(0), instance.operator.norm)) == pytest.approx(mu, rel=4e-16)
    rest = A - instance.value("spectral_radius") * torch.eye(n, dtype=torch.float64)
    assert not torch.linalg.matrix_power(rest, n).any()
    assert float(torch.linalg.matrix_norm(A, ord=2)) >= instance.value("transient") * (1 - 1e-14)


@FEW
@given(instance=non_normal_contractions(mu=0.5, doublings=(8, 10)))
def test_the_euclidean_norm_sees_the_transient(instance: Instance) -> None:
    with pytest.raises(Refuted, match="contraction: violated"):
        assert_contractive(instance.operator, instance.x, *instance.states, mu=0.99, norm=Euclidean())


def test_declared_rounding_bounds_the_error_in_single_precision() -> None:
    largest = 0.0

    @MODEST
    @given(instance=st.one_of(contractions(), non_normal_contractions(), monotone_operators()))
    def check(instance: Instance) -> None:
        nonlocal largest
        known = instance.regularity
        if known is None:
            return
        assert known.rounding is not None
        y, x = instance.y.float(), instance.x.float()
        norm, operator = known.state_norm, instance.operator
        error = norm(operator(y, x).double() - operator(y.double(), x.double()))
        bound = known.rounding.error(norm(y), x).double()
        assert bool((error <= bound).all())
        largest = max(largest, float((error / bound).max()))

    check()
    assert largest > 0.02  # not vacuous: within a factor of fifty of what happens


# Averages, cycles, monotone maps.


@MODEST
@given(instance=averaged_operators())
def test_averaged_operators_obey_the_inequality(instance: Instance) -> None:
    alpha, (v, w) = instance.value("averagedness"), instance.states
    moved, apart = instance.operator(v, instance.x) - instance.operator(w, instance.x), v - w
    left = moved.square().sum(1) + (1 - alpha) / alpha * (apart - moved).square().sum(1)
    size = (v.square() + w.square() + instance.solution.square()).sum(1) / min(alpha, 1.0)
    assert bool((left <= apart.square().sum(1) + 1e-13 * size).all())
    assert_nonexpansive(instance.operator, instance.x, *instance.states)


@pytest.mark.parametrize("kind", NONEXPANSIVE)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_no_smaller_averagedness_will_do(kind: str, size: int) -> None:
    instance = some(averaged_operators(averagedness=0.5, kinds=[kind], sizes=(size, size)))
    ones = torch.ones(1, size, dtype=torch.float64)
    beta, eye = 0.45, torch.eye(size, dtype=torch.float64)
    rest = (jacobians(step_of(instance), torch.cat([0.1 * ones, 10 * ones])) - (1 - beta) * eye) / beta
    assert float(torch.linalg.matrix_norm(rest, ord=2).amax()) > 1.001


@MODEST
@given(instance=cyclic_operators())
def test_the_period_is_the_least_one(instance: Instance) -> None:
    period, n = instance.value("period"), instance.y.shape[1]
    A = jacobians(step_of(instance), torch.zeros(1, n, dtype=torch.float64))[0]
    eye = torch.eye(n, dtype=torch.float64)
    power, first = A, 0
    for k in range(1, period + 1):
        if torch.allclose(power, eye, atol=1e-12):
            first = k
            break
        power = A @ power
    assert first == period
    assert torch.allclose(A @ A.T, eye, atol=1e-14)
    if instance.regime != "rotation of planes":
        assert torch.equal(power, eye)


@MODEST
@given(instance=monotone_operators())
def test_monotone_forms_have_their_constants(instance: Instance) -> None:
    n, m, s = instance.y.shape[1], instance.value("strong_monotonicity"), instance.value("step")
    name = "contraction_factor" if instance.regularity is not None else "lipschitz"
    found = float(slopes(instance).amax())
    if instance.regime == "soft threshold":
        assert found == pytest.approx(instance.value(name), rel=1e-12)
        return
    assert found == pytest.approx(instance.value(name), rel=1e-12, abs=1e-14)
    M = instance.underlying
    assert M is not None
    dense = jacobians(M, torch.zeros(1, n, dtype=torch.float64))[0]
    assert float(torch.linalg.eigvalsh((dense + dense.T) / 2).amin()) == pytest.approx(m, abs=1e-13)
    assert_monotone(M, *instance.states)
    v = instance.y - instance.solution
    after = step_of(instance)(v)
    residual = v - s * M(v) - after if instance.regime == "relaxed" else after + s * M(after) - v
    assert bool((residual.abs() <= 1e-12 * (1 + v.abs().amax())).all())


@FEW
@given(instance=monotone_operators(kinds=["symmetric resolvent"], strong_monotonicity=1.0, sizes=(1, 1)))
def test_a_larger_modulus_is_refuted(instance: Instance) -> None:
    assert instance.underlying is not None
    with pytest.raises(Refuted, match="monotone: violated"):
        assert_monotone(instance.underlying, *instance.states, modulus=1.01)


# Spaces, targets, N1.


@FEW
@given(spaces=finite_metric_spaces())
def test_spaces_are_those_of_the_generator(spaces: Any) -> None:
    assert len(spaces) == len(set(spaces.regimes)) == 48
    assert spaces.distances.shape[1] == spaces.values.shape[1] <= 7


@MODEST
@given(instance=lipschitz_targets())
def test_targets_come_with_points_of_their_domain(instance: TargetInstance) -> None:
    assert bool(instance.target.contains(instance.x).all() and instance.target.contains(instance.other).all())
    assert instance.regime in repr(instance)
    assert f"x = {instance.x[1].tolist()}" in instance.describe(1)


@FEW
@given(instance=lipschitz_targets(batch=4), seed=st.integers(0, 9))
def test_proved_bounds_on_balls_are_not_refuted(instance: TargetInstance, seed: int) -> None:
    radius = 10.0 ** -torch.arange(1.0, 5.0, dtype=torch.float64)
    g = torch.Generator().manual_seed(seed)
    try:
        assert_locally_lipschitz(instance.target, instance.x, radius=radius, generator=g, pairs=4)
    except AssertionError as found:
        # Balls that hold no second point float64 can tell from the centre decide nothing; anything else is a refutation.
        assert "no pair decides" in str(found)  # noqa: PT017


@MODEST
@given(instance=pointwise_contractions())
def test_the_control_is_regular_but_for_locality(instance: Instance) -> None:
    assert instance.local is not None
    zero = instance.constants["L1"]
    known = Regularity(instance.local, instance.constants["L0"], zero, Euclidean(), Euclidean())
    assert_regular(instance.operator, instance.inputs, instance.states, regularity=known)


def test_the_control_attains_its_local_factor() -> None:
    instance = some(pointwise_contractions(), lambda found: bool((found.x > 0).any()))
    y, z = instance.x / 2, -instance.x / 2
    slope = (instance.operator(y, instance.x) - instance.operator(z, instance.x)) / instance.x
    assert instance.local is not None
    inside = instance.x > 0
    assert torch.allclose(slope[inside], instance.local.at(instance.x)[inside], rtol=1e-9)


# Shrinking and arguments.


def test_examples_shrink_to_the_plainest() -> None:
    plain = find(contractions(), lambda _: True)
    assert plain.regime == "scalar multiple / linear / l2"
    assert tuple(plain.y.shape) == (16, 1)
    assert plain.seed == 0
    large = find(contractions(), lambda found: found.y.shape[1] >= 3 and "tanh" in found.regime)
    assert large.y.shape[1] == 3
    assert find(averaged_operators(), lambda _: True).value("averagedness") == 0.5


def test_everything_that_is_named_is_drawn() -> None:
    regimes: set[str] = set()

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(instance=st.one_of(contractions(), averaged_operators(), monotone_operators(), cyclic_operators()))
    def collect(instance: Instance) -> None:
        regimes.update(instance.regime.split(" / "))

    collect()
    assert {*NONEXPANSIVE, *CYCLES, *MONOTONE, "linear", "tanh", "relu", "rotation", "shift"} <= regimes
    assert {"l2", "sup", "l1", weighted_sum(2).name.partition(" #")[0]} <= {name.partition(" #")[0] for name in regimes}


@pytest.mark.parametrize("norm", [Sup(), Sum(), weighted_sum])
def test_norms_can_be_chosen(norm: Any) -> None:
    instance = some(contractions(norms=[norm], sizes=(3, 3)))
    assert instance.operator.norm == (norm if isinstance(norm, Norm) else norm(3))
    assert len(NORMS) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: contractions(mu=1.0), "mu: got 1.0, needed 0.0 <= mu <= "),
        (lambda: contractions(sizes=(0, 2)), "sizes: got 0, needed an integer >= 1"),
        (lambda: contractions(sizes=(3, 2)), r"sizes: got \(3, 2\), needed a pair \(low, high\) with 1 <= low <= high"),
        (lambda: contractions(batch=0), "batch: got 0, needed an integer >= 1"),
        (lambda: contractions(norms=[]), "norms: got nothing, needed at least one norm"),
        (lambda: contractions(shapes=["rotations"]), r"shapes: got \['rotations'\], needed some of scalar multiple"),
        (lambda: contractions(activations=[]), r"activations: got \[\], needed some of linear"),
        (lambda: near_one(sizes=(1, 4000)), "needed states short enough to resolve 1 - 2"),
        (
            lambda: non_normal_contractions(sizes=(1, 2)),
            r"sizes: got \(1, 2\), needed a pair \(low, high\) with 2 <= low",
        ),
        (
            lambda: non_normal_contractions(doublings=(0, 3)),
            r"doublings: got \(0, 3\), needed \(low, high\) with 1 <= low",
        ),
        (lambda: non_normal_contractions(doublings=(2, 50), sizes=(2, 20)), r"so at most 10; pass"),
        (lambda: averaged_operators(averagedness=0.0), "averagedness: got 0.0, needed"),
        (lambda: monotone_operators(strong_monotonicity=-1.0), "strong_monotonicity: got -1.0, needed 0.0 <="),
        (lambda: cyclic_operators(sizes=(1, 3)), r"sizes: got \(1, 3\), needed sizes of at least 2"),
        (lambda: pointwise_contractions(depths=(1, 9)), r"depths: got \(1, 9\), needed depths up to 7; factors"),
        (lambda: finite_metric_spaces(batch=47), "batch: got 47, needed at least 48"),
        (lambda: finite_metric_spaces(norms=[]), "norms: got nothing"),
        (lambda: lipschitz_targets(targets=[]), "targets: got nothing, needed at least one map"),
        (lambda: lipschitz_targets(targets=CATALOGUE, batch=0), "batch: got 0"),
    ],
)
def test_arguments_are_refused_before_anything_is_drawn(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_numbers_of_another_strategy_are_checked_when_drawn() -> None:
    with pytest.raises(InputError, match=r"mu: got 1\.5"):
        some(contractions(mu=st.just(1.5)))


def test_periods_are_those_of_their_cycles() -> None:
    instance = some(cyclic_operators(kinds=["permutation"], sizes=(5, 5)), lambda found: found.value("period") == 6)
    assert gcd(instance.value("period"), 5) == 1


def test_stored_rotations_are_isometries_up_to_rounding_only() -> None:
    for kind, exactly in (("rotation of planes", False), ("permutation", True), ("sign change", True)):
        known = some(cyclic_operators(kinds=[kind])).constants["lipschitz"]
        assert (known.assumptions == ()) is exactly


def test_factors_that_rounding_may_raise_to_one_are_none() -> None:
    instance = some(monotone_operators(sizes=(64, 64), strong_monotonicity=2e-12, kinds=["symmetric resolvent"]))
    assert instance.regularity is None
    assert "lipschitz" in instance.constants
    assert some(monotone_operators(sizes=(64, 64), strong_monotonicity=1e-9)).regularity is not None


def test_the_deepest_inputs_have_factors_below_one() -> None:
    instance = some(pointwise_contractions(depths=(7, 7)))
    assert bool((instance.local.at(torch.logspace(-7, 0, 50, dtype=torch.float64)) < 1).all())
