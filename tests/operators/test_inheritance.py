"""Nothing becomes better known because it was combined, and nothing is declared where nothing follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.errors import InputError
from eqtheory.norms import Euclidean, Metric, Norm, Sum, Sup
from eqtheory.operators import (
    Cascade,
    Clipped,
    Composed,
    Encoded,
    FunctionOperator,
    ImplicitOperator,
    Regularity,
    Relaxed,
)
from eqtheory.roundoff import Rounding

STRENGTH = [Evidence.ESTIMATED, Evidence.DECLARED, Evidence.PROVED]


def known(value: float, evidence: Evidence) -> Bound:
    return Bound(value, Side.ESTIMATE if evidence is Evidence.ESTIMATED else Side.UPPER, "source", evidence)


def operator(weak: dict[str, Evidence], *, L1: float = 0.0, norm: Norm | None = None) -> FunctionOperator:
    """An operator whose constants are proved, except those named."""
    of = {name: weak.get(name, Evidence.PROVED) for name in ("mu", "L0", "L1")}
    norm = norm or Sup()
    regularity = Regularity(
        known(0.5, of["mu"]), known(1.0, of["L0"]), known(L1, of["L1"]), norm, norm, Rounding(relative=1.0)
    )
    return FunctionOperator(lambda y, x: 0.5 * y + x, initial_state=torch.zeros_like, regularity=regularity)


def local(G: FunctionOperator) -> FunctionOperator:
    base = G.regularity
    assert base is not None
    mu = LocalBound(lambda x: 0.5 + 0 * x, base.mu.side, "source", base.mu.evidence)
    return FunctionOperator(G.function, regularity=replace(base, mu=mu))


Build = Callable[[dict[str, Evidence]], ImplicitOperator]


def part(weak: dict[str, Evidence], prefix: str, **settings: float) -> FunctionOperator:
    return operator({k.removeprefix(prefix): v for k, v in weak.items() if k.startswith(prefix)}, **settings)  # type: ignore[arg-type]


BUILDS: dict[str, Build] = {
    "Relaxed": lambda w: Relaxed(part(w, "G."), 0.5),
    "Relaxed local": lambda w: Relaxed(local(part(w, "G.")), 0.5),
    "Encoded": lambda w: Encoded(part(w, "G."), torch.sin, lipschitz=known(1.0, w.get("E", Evidence.PROVED))),
    "Encoded local": lambda w: Encoded(
        local(part(w, "G.")), torch.sin, lipschitz=known(1, w.get("E", Evidence.PROVED))
    ),
    "Clipped": lambda w: Clipped(part(w, "G.", L1=1.0), 2.0),
    "Composed": lambda w: Composed(part(w, "G."), part(w, "H.", L1=1.0)),
    "Composed local": lambda w: Composed(local(part(w, "G.")), part(w, "H.", L1=1.0)),
    "Cascade": lambda w: Cascade(part(w, "G."), part(w, "H."), sizes=(1, 1)),
}
# Which constants of the parts each derivation uses. Composition needs that the outer operator has L1 = 0 and mu <= 1; the
# cascade's norm is made of the coupling, the L0 of the second operator, which has to have L1 = 0.
USES: dict[str, dict[str, tuple[str, ...]]] = {
    "Relaxed": {"mu": ("G.mu",), "L0": ("G.L0",), "L1": ("G.L1",)},
    "Encoded": {"mu": ("G.mu",), "L0": ("G.L0", "E"), "L1": ("G.L1", "E")},
    "Clipped": {"mu": ("G.mu",), "L0": ("G.L0", "G.L1")},
    "Composed": {
        "mu": ("G.mu", "H.mu"),
        "L0": ("G.L0", "H.L0", "G.L1", "G.mu"),
        "L1": ("H.L1", "G.L1", "G.mu"),
    },
    "Cascade": {"mu": ("G.mu", "H.mu", "H.L0", "H.L1"), "L0": ("G.L0",), "L1": ("G.L1",)},
}
CASES = [
    (name, field, used) for name in BUILDS for field, all_used in USES[name.split()[0]].items() for used in all_used
]


@pytest.mark.parametrize("evidence", [Evidence.DECLARED, Evidence.ESTIMATED])
@pytest.mark.parametrize(("name", "field", "used"), CASES)
def test_a_constant_is_known_no_better_than_what_it_was_made_of(
    name: str, field: str, used: str, evidence: Evidence
) -> None:
    regularity = BUILDS[name]({used: evidence}).regularity
    assert regularity is not None
    found = getattr(regularity, field)
    assert STRENGTH.index(found.evidence) <= STRENGTH.index(evidence)
    assert (found.side is Side.ESTIMATE) == (found.evidence is Evidence.ESTIMATED)


@pytest.mark.parametrize("name", BUILDS)
def test_what_follows_from_proved_parts_is_proved(name: str) -> None:
    regularity = BUILDS[name]({}).regularity
    assert regularity is not None
    for bound in (regularity.mu, regularity.L0, regularity.L1):
        assert bound.evidence is Evidence.PROVED
        assert bound.side in (Side.UPPER, Side.EXACT)


@pytest.mark.parametrize("name", BUILDS)
def test_the_rounding_of_a_part_is_not_passed_off_as_that_of_the_whole(name: str) -> None:
    regularity = BUILDS[name]({}).regularity
    assert regularity is not None
    assert regularity.rounding is None


def test_without_regularity_of_the_parts_none_is_declared() -> None:
    bare, known_one = FunctionOperator(lambda y, x: y), operator({})
    lipschitz = known(1.0, Evidence.PROVED)
    for G in (
        Relaxed(bare, 0.5),
        Encoded(bare, torch.sin, lipschitz=lipschitz),
        Encoded(known_one, torch.sin),
        Clipped(bare, 1.0),
        Composed(bare, known_one),
        Composed(known_one, bare),
    ):
        assert G.regularity is None


def test_nothing_follows_for_an_outer_operator_whose_budget_grows_with_the_state() -> None:
    assert Composed(operator({}, L1=1.0), operator({})).regularity is None
    assert Composed(Clipped(operator({}, L1=1.0), 1.0), operator({})).regularity is not None


def test_nothing_follows_for_operators_measured_in_different_norms() -> None:
    assert Composed(operator({}, norm=Sup()), operator({}, norm=Sum())).regularity is None


# Norms of inputs count as well: |sum_k x_k| <= 2 |x|_2 in R^4, but 4 |x|_sup.


def summing(mu: float, metric: Metric) -> FunctionOperator:
    """`mu y + 2 sum(x)`, with the Lipschitz constant it has in the given metric of R^4 inputs."""
    constant = {"l2": 4.0, "sup": 8.0, "l1": 2.0}[metric.name]
    regularity = Regularity.declared(mu=mu, L0=constant, L1=0.0, state_norm=Sup(), input_metric=metric)
    return FunctionOperator(lambda y, x: mu * y + 2 * x.sum(dim=1, keepdim=True), regularity=regularity)


@pytest.mark.parametrize(("outer", "inner"), list(product([Euclidean(), Sup(), Sum()], repeat=2)))
def test_a_composition_declares_a_budget_only_in_a_metric_that_bounds_both(outer: Metric, inner: Metric) -> None:
    constant = FunctionOperator(
        lambda y, x: 0.99 * y,
        regularity=Regularity.declared(mu=0.99, L0=0.0, L1=0.0, state_norm=Sup(), input_metric=outer),
    )
    G = Composed(constant, summing(0.5, inner))
    if outer == inner:
        assert G.regularity is not None
    if G.regularity is None:
        return
    x, w, y = torch.ones(1, 4), torch.zeros(1, 4), torch.zeros(1, 1)
    allowed = G.regularity.L0.value * G.regularity.input_metric.distance(x, w)
    assert float((G(y, x) - G(y, w)).abs()) <= float(allowed) * (1 + 1e-6)


@pytest.mark.parametrize("metric", [Euclidean(), Sup(), Sum()])
def test_a_cascade_contracts_or_refuses_a_coupling_in_another_metric_than_the_first_state(metric: Metric) -> None:
    first = FunctionOperator(
        lambda y, x: 0.5 * y,
        regularity=Regularity.declared(mu=0.5, L0=0.0, L1=0.0, state_norm=Sup()),
    )
    try:
        G = Cascade(first, summing(0.5, metric), sizes=(4, 1))
    except InputError as refusal:
        assert refusal.argument == "second"  # noqa: PT017
        assert metric != Sup()
        return
    assert G.regularity is not None
    y, z = torch.tensor([[1.0, 1, 1, 1, 0]]), torch.zeros(1, 5)
    norm = G.regularity.state_norm
    x = torch.zeros(1, 4)
    assert float(norm.distance(G(y, x), G(z, x)) / norm.distance(y, z)) <= G.regularity.mu.at(x) * (1 + 1e-6)


# Errors.


@pytest.mark.parametrize("eps", [0, 0.0, -0.5, 1 + 1e-15, 2, float("nan")])
def test_a_relaxation_needs_eps_in_the_unit_interval(eps: float) -> None:
    with pytest.raises(InputError) as caught:
        Relaxed(operator({}), eps)
    assert str(caught.value) == f"eps: got {eps}, needed 0 < eps <= 1; eps = 1 is the operator itself"


@pytest.mark.parametrize("radius", [0, -1.0, float("nan")])
def test_a_ball_needs_a_positive_radius(radius: float) -> None:
    with pytest.raises(InputError, match=f"radius: got {radius}, needed a positive number; pass a bound on the states"):
        Clipped(operator({}), radius)


def test_projections_that_can_expand_are_refused() -> None:
    with pytest.raises(InputError, match=r"operator.norm: got l1, needed l2 or sup; other projections can expand"):
        Clipped(operator({}, norm=Sum()), 1.0)


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_an_encoder_has_a_lipschitz_constant_that_is_not_negative(value: float) -> None:
    with pytest.raises(InputError, match=rf"lipschitz: got {value}, needed a number >= 0; pass Bound\(e, Side.UPPER"):
        Encoded(operator({}), torch.sin, lipschitz=known(value, Evidence.PROVED))


def test_a_lower_bound_on_the_encoder_bounds_no_budget() -> None:
    with pytest.raises(InputError, match="lipschitz: got lower bound, needed an upper bound; a lower bound cannot"):
        Encoded(operator({}), torch.sin, lipschitz=Bound(1.0, Side.LOWER, "pairs", Evidence.PROVED))


def test_a_cascade_needs_constant_factors_of_both() -> None:
    bare = FunctionOperator(lambda y, x: y)
    for pair in ((bare, operator({})), (operator({}), bare), (local(operator({})), operator({}))):
        with pytest.raises(InputError, match="first, second: got no constant mu, needed declared regularity with one"):
            Cascade(*pair, sizes=(1, 1))


def test_a_cascade_needs_a_second_operator_that_is_lipschitz_in_the_first_state() -> None:
    with pytest.raises(
        InputError, match=r"second: got L1 = 1.0, needed L1 = 0, so that it is Lipschitz in y1; clip it"
    ):
        Cascade(operator({}), operator({}, L1=1.0), sizes=(1, 1))


def test_a_cascade_needs_one_norm() -> None:
    with pytest.raises(
        InputError, match="second: got l1, needed the state norm of first, sup; declare both in one norm"
    ):
        Cascade(operator({}, norm=Sup()), operator({}, norm=Sum()), sizes=(1, 1))
