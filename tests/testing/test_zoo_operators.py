"""Every case of the zoo is what it says: good ones have their true factor, broken ones show their fault when it is looked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import VerdictKind
from eqtheory.errors import InputError
from eqtheory.operators import Regularity, as_operator
from eqtheory.testing.assertions import (
    assert_batch_independent,
    assert_contractive,
    assert_deterministic,
    assert_regular,
)
from eqtheory.testing.evidence import Refuted
from eqtheory.testing.zoo.operators import (
    ANY,
    AUDIT_CASES,
    CHECKS,
    GOOD,
    HIDDEN,
    HOLDS,
    LARGEST_BUDGET,
    REFUTED,
    RESOLUTION,
    AuditCase,
    audit_case,
)
from eqtheory.testing.zoo.operators._states import PLACE, WIDTH

GOOD_NAMES = [case.name for case in GOOD]
SMOOTH = ("finite", "shape", "deterministic", "batch_independent")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def jacobians(case: AuditCase, y: Tensor, x: Tensor) -> Tensor:
    """Dense derivatives in the state, shape `(batch, d, d)`; samples do not see each other, so one row of the batch at a time."""
    leaf = y.clone().requires_grad_()
    out = case.operator(leaf, x)
    rows = [torch.autograd.grad(out[:, i].sum(), leaf, retain_graph=True)[0] for i in range(y.shape[1])]
    return torch.stack(rows, dim=1)


def spectral(J: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(J, ord=2)


def differences(case: AuditCase, y: Tensor, x: Tensor, h: float = 1e-6) -> Tensor:
    """Dense derivatives in the state by central differences."""
    steps = h * torch.eye(y.shape[1], dtype=y.dtype)
    G = case.operator
    with torch.no_grad():
        return torch.stack([(G(y + e, x) - G(y - e, x)) / (2 * h) for e in steps], dim=2)


def certified_slope(G: Any, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], error: float = 1e-14) -> float:
    """Slope of one pair, less what rounding explains."""
    (y, x), (z, w) = first, second
    gap = torch.linalg.vector_norm(G(y.clone(), x) - G(z.clone(), w))
    distance = torch.linalg.vector_norm(torch.cat([y - z, x - w], dim=1))
    return float((gap - error * (1 + y.abs().max() + z.abs().max())) / distance)


# The collection.


def test_there_is_enough_of_each_and_names_are_unique() -> None:
    assert len(AUDIT_CASES) >= 32
    assert len(GOOD) >= 6
    assert len([case for case in AUDIT_CASES if not case.good]) >= 25
    assert len({case.name for case in AUDIT_CASES}) == len(AUDIT_CASES)
    assert all(case.good for case in GOOD)
    assert all(case.why.endswith(".") for case in AUDIT_CASES)
    assert all(any(case.expected[check] == REFUTED for case in AUDIT_CASES) for check in CHECKS)


@pytest.mark.parametrize("case", AUDIT_CASES, ids=lambda case: case.name)
def test_expectations_are_complete_and_what_is_broken_is_never_proved(case: AuditCase) -> None:
    assert tuple(case.expected) == CHECKS
    assert all(allowed in (HOLDS, REFUTED, HIDDEN, ANY) for allowed in case.expected.values())
    assert case.broken == tuple(check for check in CHECKS if case.expected[check] == {VerdictKind.REFUTED})
    if not case.good and case.mu is not None and case.mu >= 1:
        assert VerdictKind.PROVED not in case.expected["R1"]
    if case.expected["R1"] == HOLDS and case.mu is not None:
        assert case.mu < 1 - RESOLUTION


@pytest.mark.parametrize("case", AUDIT_CASES, ids=lambda case: case.name)
def test_samples_are_of_the_domain_and_of_the_generator(case: AuditCase) -> None:
    y, x = case.sample(64, seeded())
    again = case.sample(64, seeded())
    assert y.dtype == x.dtype == torch.float64
    assert y.ndim == x.ndim == 2
    assert len(y) == len(x) == 64
    assert torch.equal(y, again[0])
    assert torch.equal(x, again[1])
    for values, box in zip((y, x), case.domain, strict=True):
        if box is not None:
            assert bool((values >= box[0]).all() and (values <= box[1]).all())


def test_cases_are_found_by_name() -> None:
    assert audit_case("rotation").mu == 1.0
    with pytest.raises(InputError, match="name: got 'spinning', needed the name of a case; pass for example"):
        audit_case("spinning")


def holds(case: AuditCase, check: str) -> bool:
    return case.expected[check] == HOLDS


@pytest.mark.parametrize("case", AUDIT_CASES, ids=lambda case: case.name)
def test_what_is_said_to_hold_does_hold_on_samples(case: AuditCase) -> None:
    y, x = case.sample(200, seeded(1))
    if all(holds(case, check) for check in ("finite", "shape")):
        out = case.operator(y.clone(), x)
        assert out.shape == y.shape
        assert bool(torch.isfinite(out).all())
        if holds(case, "deterministic"):
            assert_deterministic(case.operator, x, y)
        if holds(case, "batch_independent"):
            assert_batch_independent(case.operator, x, y)
    if holds(case, "R1"):
        z, _ = case.sample(200, seeded(2))
        factor = case.mu if case.mu is not None else 1 - RESOLUTION
        assert_contractive(case.operator, x, y, z, mu=factor * (1 + 1e-12), norm=case.norm)
    if holds(case, "gradient"):
        scale = 1 + float(y.abs().max())
        gap = jacobians(case, y, x) - differences(case, y, x)
        # Central differences: the third derivative of the bump is about 1/w^2, and 1/w^2 h^2 = 1e-6.
        assert float(gap.abs().max()) <= 1e-5 * scale


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_operators_have_their_true_factor(name: str) -> None:
    case = audit_case(name)
    y, x = case.sample(500, seeded(3))
    ones, zero = torch.ones_like(y[:1]), torch.zeros_like(y[:1])
    # At zero tanh has slope one, on the positive orthant relu is the identity, far out thresholds shift.
    y, x = torch.cat([y, zero, ones, 100 * ones]), torch.cat([x, torch.zeros_like(x[:3])])
    slopes = spectral(jacobians(case, y, x))
    assert case.mu is not None
    assert float(slopes.max()) == pytest.approx(case.mu, rel=1e-12)


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_smaller_factor_is_refuted_for_good_operators(name: str) -> None:
    case = audit_case(name)
    assert case.mu is not None
    y, x = case.sample(1, seeded(3))
    at = (
        100 * torch.ones_like(y)
        if name == "proximal gradient step"
        else torch.ones_like(y)
        if "graph" in name
        else 0 * y
    )
    J = jacobians(case, at, 0 * x)[0]
    direction = torch.linalg.svd(J).Vh[:1]
    h = 1e-4
    with pytest.raises(Refuted):
        assert_contractive(case.operator, 0 * x, at + h * direction, at - h * direction, mu=0.999 * case.mu)


# Faults, shown directly.

UNIT = torch.eye(4, dtype=torch.float64)[:1]
P = torch.tensor([PLACE], dtype=torch.float64)
NULL = torch.zeros(1, 4, dtype=torch.float64)


def in_the_state(name: str, y: Tensor, z: Tensor, x: Tensor | None = None) -> float:
    x = torch.zeros_like(y) if x is None else x
    return certified_slope(audit_case(name).operator, (y, x), (z, x))


def t(*entries: float) -> Tensor:
    return torch.tensor([entries], dtype=torch.float64)


STATE_PAIRS: dict[str, Callable[[], tuple[Tensor, ...]]] = {
    "expansive": lambda: (UNIT, NULL),
    "slightly expansive": lambda: (UNIT, NULL),
    "expansive in a tiny region of states": lambda: (P + 1.1 * WIDTH * UNIT, P + 0.9 * WIDTH * UNIT),
    "expansive in a tiny region of inputs": lambda: (UNIT, NULL, P),
    "contractive at every input only": lambda: (t(1e-4), t(-1e-4), t(5e-4)),
    "contractive at every input only, smooth in the state": lambda: (t(1e-7), t(-1e-7), t(5e-4)),
    "contractive in a weighted norm only": lambda: (t(0.0, 1.0), t(0.0, 0.0)),
    "rotation": lambda: (t(0.0, 1.0), t(0.0, 0.0)),
    "translation": lambda: (UNIT, NULL),
    "sign change": lambda: (UNIT, NULL),
    "monotone and not contractive": lambda: (t(0.0, 1.0), t(0.0, 0.0)),
    "contractive on every pair and not uniformly": lambda: (20 * UNIT, 19 * UNIT),
    "jump in the state": lambda: (0.3 * UNIT, (0.3 + 1e-6) * UNIT),
    "quantised": lambda: (1.0011e-3 * UNIT, 0.9989e-3 * UNIT),
    "one steep piece": lambda: (UNIT, 0.95 * UNIT),
    "contractive where the sampler looks": lambda: (1.5 * UNIT, 1.4 * UNIT),
    "false proof": lambda: (UNIT, NULL),
    "expansion detached": lambda: (UNIT, NULL),
}


@pytest.mark.parametrize("name", STATE_PAIRS)
def test_a_pair_of_states_shows_that_it_does_not_contract(name: str) -> None:
    case = audit_case(name)
    pair = STATE_PAIRS[name]()
    slope = in_the_state(name, *pair)
    # One of them slips below the resolution by its certificate: 1 minus rounding still counts.
    assert slope >= 1 - RESOLUTION
    if case.mu is not None:
        assert slope <= case.mu * (1 + 1e-9)
        if "every input" not in name and "uniformly" not in name:
            assert slope == pytest.approx(case.mu, rel=1e-2)


def test_all_that_must_be_refuted_for_contraction_has_a_pair() -> None:
    must = {case.name for case in AUDIT_CASES if case.expected["R1"] == REFUTED}
    assert must <= set(STATE_PAIRS)


@pytest.mark.parametrize("name", ["expansive in a tiny region of states", "expansive in a tiny region of inputs"])
def test_samples_never_see_the_hidden_region(name: str) -> None:
    case = audit_case(name)
    y, x = case.sample(100_000, seeded(4))
    assert float(spectral(jacobians(case, y, x)).max()) < 0.9
    z, _ = case.sample(100_000, seeded(5))
    gap = torch.linalg.vector_norm(case.operator(y, x) - case.operator(z, x), dim=1)
    assert float((gap / torch.linalg.vector_norm(y - z, dim=1)).max()) < 0.9


@pytest.mark.parametrize("name", ["expansive in a tiny region of states", "expansive in a tiny region of inputs"])
def test_an_ascent_climbs_into_the_hidden_region(name: str) -> None:
    case = audit_case(name)
    y, x = case.sample(32, seeded(6))
    v = torch.randn(y.shape, generator=seeded(7), dtype=torch.float64)
    points = [p.clone().requires_grad_() for p in (y, x)]
    G = case.operator

    def product(y: Tensor, x: Tensor, v: Tensor) -> Tensor:
        return torch.func.jvp(lambda s: G(s, x), (y,), (v,))[1]

    best, step = 0.0, 0.1
    for _ in range(400):
        # Two rounds of power iteration find the direction; the ascent follows its slope. Any slope found is a lower bound.
        for _ in range(2):
            w = product(points[0].detach(), points[1].detach(), v)
            leaf = points[0].detach().requires_grad_()
            v = torch.autograd.grad(G(leaf, points[1].detach()), leaf, w)[0]
            v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True)
        slope = torch.linalg.vector_norm(product(points[0], points[1], v), dim=1)
        best = max(best, float(slope.detach().max()))
        if best >= 1:
            break
        moves = torch.autograd.grad(slope.sum(), points, allow_unused=True)
        with torch.no_grad():
            for point, move in zip(points, moves, strict=True):
                if move is not None:
                    size = torch.linalg.vector_norm(move, dim=1, keepdim=True)
                    point.add_(step * move / torch.where(size > 0, size, 1.0)).clamp_(-1, 1)
        step *= 0.98
    assert best >= 1


def test_the_smooth_control_is_simple_in_the_input_and_attains_its_factor() -> None:
    case = audit_case("contractive at every input only, smooth in the state")
    y, x = case.sample(2000, seeded(8))
    leaf = x.clone().requires_grad_()
    wide = 10 * torch.randn(y.shape, generator=seeded(9), dtype=torch.float64)
    for states in (y, wide):
        (slope,) = torch.autograd.grad(case.operator(states, leaf).sum(), leaf)
        assert float(slope.abs().max()) <= 1.0
    J = jacobians(case, torch.zeros_like(x), x).reshape(-1)
    assert torch.allclose(J, 1 - x[:, 0] ** 2, rtol=1e-12)
    assert jacobians(case, t(0.3), t(0.0)).item() == 0.5


def budget_excess(name: str, y: Tensor, x: Tensor, w: Tensor) -> float:
    slope = certified_slope(audit_case(name).operator, (y, x), (y, w), error=1e-15)
    return slope / (LARGEST_BUDGET * (1 + float(torch.linalg.vector_norm(y))))


INPUT_PAIRS: dict[str, Callable[[], tuple[Tensor, Tensor, Tensor]]] = {
    "steep like the square of the state": lambda: (1e8 * UNIT, 1e-17 * UNIT, -1e-17 * UNIT),
    "steep like an exponential of the state": lambda: (30 * UNIT, 1e-13 * UNIT, -1e-13 * UNIT),
    "sign of the input": lambda: (NULL, 1e-9 * UNIT, -1e-9 * UNIT),
    "floor of the input": lambda: (NULL, 0.25 * UNIT, (0.25 - 1e-9) * UNIT),
    "root of the input": lambda: (NULL, NULL, 1e-14 * UNIT),
}


@pytest.mark.parametrize("name", INPUT_PAIRS)
def test_a_pair_of_inputs_passes_every_budget(name: str) -> None:
    assert budget_excess(name, *INPUT_PAIRS[name]()) > 1


@pytest.mark.parametrize("name", ["steep like the square of the state", "steep like an exponential of the state"])
def test_what_is_steep_where_large_still_contracts(name: str) -> None:
    case = audit_case(name)
    y, x = case.sample(5000, seeded(10))
    assert float(spectral(jacobians(case, y, x)).max()) <= 0.62


@pytest.mark.parametrize("name", ["false budget", "false proof", "false factor"])
def test_declared_constants_are_exceeded(name: str) -> None:
    operator = as_operator(audit_case(name).operator)
    x, y = torch.zeros(1, 4).double(), torch.full((1, 4), 1e-3).double()
    with pytest.raises(Refuted):
        assert_regular(operator, (x, x + 1e-3), (-y, y))
    assert isinstance(operator.regularity, Regularity)


def test_all_that_must_be_refuted_for_simplicity_has_a_pair() -> None:
    must = {case.name for case in AUDIT_CASES if case.expected["R2"] == REFUTED}
    assert must <= {*INPUT_PAIRS, "false budget", "false proof"}


NOT_FINITE: dict[str, tuple[Tensor, Tensor]] = {
    "logarithm of a state that may be negative": (-0.75 * UNIT, NULL),
    "root of an input that may be negative": (NULL, -0.5 * UNIT),
    "zero over zero at one input": (NULL, NULL),
    "overflow": (NULL, 0.9 * UNIT),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_results_are_not_finite_in_the_domain(name: str) -> None:
    case = audit_case(name)
    assert not bool(torch.isfinite(case.operator(*NOT_FINITE[name])).all())
    y, x = case.sample(1000, seeded(11))
    seen = not bool(torch.isfinite(case.operator(y, x)).all())
    assert seen == (case.expected["finite"] == REFUTED)  # within reach, or at one point only


@pytest.mark.parametrize("name", [case.name for case in AUDIT_CASES if case.expected["deterministic"] == REFUTED])
def test_equal_arguments_give_other_results(name: str) -> None:
    case = audit_case(name)
    y, x = case.sample(16, seeded(12))
    with pytest.raises(Refuted, match=r"deterministic|untouched"):
        assert_deterministic(case.operator, x, y)


def test_a_fresh_operator_has_not_counted_yet() -> None:
    case = audit_case("hidden counter")
    y, x = case.sample(4, seeded(13))
    assert torch.equal(case.operator(y, x), case.operator(y, x))


@pytest.mark.parametrize("name", [case.name for case in AUDIT_CASES if case.expected["batch_independent"] == REFUTED])
def test_results_depend_on_company(name: str) -> None:
    case = audit_case(name)
    y, x = case.sample(16, seeded(14))
    with pytest.raises(Refuted, match="batch independence"):
        assert_batch_independent(case.operator, x, y)


@pytest.mark.parametrize(("name", "quantity"), [("another type", "dtype"), ("another shape", "shape")])
def test_results_are_no_states(name: str, quantity: str) -> None:
    case = audit_case(name)
    y, x = case.sample(16, seeded(15))
    with pytest.raises(Refuted, match=f"{quantity}: violated"):
        assert_deterministic(case.operator, x, y)


@pytest.mark.parametrize("name", [case.name for case in AUDIT_CASES if case.expected["gradient"] == REFUTED])
def test_automatic_derivatives_are_wrong(name: str) -> None:
    case = audit_case(name)
    y, x = case.sample(16, seeded(16))
    gap = (jacobians(case, y, x) - differences(case, y, x)).abs()
    assert float(gap.max()) > 0.1


def test_single_precision_is_a_staircase() -> None:
    G = audit_case("single precision inside").operator
    y = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    slopes = [certified_slope(G, (y + k * 1e-9 * UNIT, NULL), (y + (k + 1) * 1e-9 * UNIT, NULL)) for k in range(300)]
    assert max(slopes) > 10
    assert min(slopes) < 1e-3


def test_the_weighted_contraction_converges_after_growing() -> None:
    G = audit_case("contractive in a weighted norm only").operator
    y, x = t(0.0, 1.0), t(0.0, 0.0)
    sizes = []
    for _ in range(80):
        y = G(y, x)
        sizes.append(float(torch.linalg.vector_norm(y)))
    assert max(sizes) > 90
    assert sizes[-1] < 1e-15
