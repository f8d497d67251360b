"""T7 under attack: the reciprocal on both sides of zero and the matrix inverse, with every constant of the statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import pytest
import sympy
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.constructions import MatrixInverse, Reciprocal, TwoSidedReciprocal
from eqtheory.errors import DomainError, InputError
from eqtheory.norms import Euclidean, Norm, Spectral
from eqtheory.roundoff import gamma
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import relative_margin, settle
from eqtheory.theorems import contraction, simplicity
from eqtheory.theorems.reciprocal import closed_form
from proofs_check import controls
from proofs_check.instances import MANY, generator

BATCH = 768
Operator = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Claim:
    """An operator with the constants claimed for it and the inputs it is claimed on."""

    name: str
    G: Operator
    mu: Callable[[Tensor], Tensor]
    L0: float
    L1: float
    inputs: Callable[[torch.Generator], Tensor]
    norm: Norm
    fixed_point: Callable[[Tensor], Tensor]


def unit_interval(g: torch.Generator) -> Tensor:
    return 10.0 ** (-5 * torch.rand(BATCH, generator=g, dtype=torch.float64))


def both_sides(g: torch.Generator) -> Tensor:
    return unit_interval(g) * (torch.randint(0, 2, (BATCH,), generator=g) * 2 - 1)


def matrices(n: int) -> Callable[[torch.Generator], Tensor]:
    def draw(g: torch.Generator) -> Tensor:
        left, right = (
            torch.linalg.qr(torch.randn(BATCH // 4, n, n, generator=g, dtype=torch.float64)).Q for _ in range(2)
        )
        values = 10.0 ** (-3 * torch.rand(BATCH // 4, n, generator=g, dtype=torch.float64))
        values[:, 0] = 1 - values[:, 0] * 1e-3
        return ((left * values.unsqueeze(1)) @ right) * (1 - 1e-12)

    return draw


def claim_of(
    name: str, G: Reciprocal | TwoSidedReciprocal | MatrixInverse, inputs: Callable[[torch.Generator], Tensor]
) -> Claim:
    """Take the constants an operator of the library declares."""
    declared = G.regularity
    assert declared is not None
    fixed = torch.linalg.inv if isinstance(G, MatrixInverse) else torch.reciprocal
    return Claim(name, G, declared.mu.at, declared.L0.value, declared.L1.value, inputs, declared.state_norm, fixed)


def honest(eta: float) -> Iterator[Claim]:
    yield claim_of("one-sided", Reciprocal(eta), unit_interval)
    yield claim_of("two-sided", TwoSidedReciprocal(eta), both_sides)
    for norm in (Spectral(), Euclidean()):
        for n in (1, 2, 4):
            yield claim_of(f"matrix {n} x {n}, {norm.name}", MatrixInverse(eta, norm=norm), matrices(n))


def margins_of(claim: Claim, g: torch.Generator) -> Iterator[tuple[str, Tensor, Callable[[int], str]]]:
    """(R1), (R2) and the fixed point at random and at hostile states and pairs."""
    a, b = claim.inputs(g), claim.inputs(g)
    count = a.shape[0]
    shape = (-1, *[1] * (a.ndim - 1))
    close = (torch.arange(count) % 2 == 0).reshape(shape)
    b = torch.where(
        close, a * (1 - 10.0 ** (-6 * torch.rand(count, generator=g, dtype=torch.float64))).reshape(shape), b
    )
    size = 10.0 ** (6 * torch.rand(count, generator=g, dtype=torch.float64) - 2).reshape(shape)
    y, z = size * torch.randn((2, *a.shape), generator=g, dtype=torch.float64)
    norm = claim.norm
    # 2n + 6 roundings on quantities of size at most |y| + 1 (matrix products of contractions), amplified by n in the spectral norm.
    n = a.shape[-1] if a.ndim == 3 else 1
    unit = gamma(8 * n * n + 24, torch.float64)

    def witness(i: int) -> str:
        return f"{claim.name} at x = {a[i].tolist()}, x' = {b[i].tolist()}, y = {y[i].tolist()}"

    sides = contraction.sides(
        gap_after=norm.distance(claim.G(y, a), claim.G(z, a)), gap_before=norm.distance(y, z), mu=claim.mu(a)
    )
    yield "contraction", relative_margin(sides, unit * (norm(y) + norm(z) + 1)), witness
    gap = norm.distance(claim.G(y, a), claim.G(y, b))
    sides = simplicity.sides(gap=gap, state_norm=norm(y), delta=norm.distance(a, b), L0=claim.L0, L1=claim.L1)
    yield "simplicity", relative_margin(sides, unit * (norm(y) + 1)), witness
    solution = claim.fixed_point(a)
    miss = norm.distance(claim.G(solution, a), solution)
    # The inverse itself is computed with relative error about n cond(A) u, and |A| <= 1.
    yield "fixed point", relative_margin((miss, 0 * miss), 4 * unit * (norm(solution) ** 2 + 1)), witness


@pytest.mark.theorem("T7", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.floats(0.01, 0.99))
    def attack(seed: int, eta: float) -> None:
        worst = 1.0
        for claim in honest(eta):
            for name, margins, witness in margins_of(claim, generator(seed)):
                count = margins.shape[0]
                worst = min(
                    worst,
                    settle(evidence, Kind.SAMPLED, f"{name}: {claim.name}", margins, instances=count, witness=witness),
                )
            evidence.regimes({claim.name: count})
        target(-worst)

    attack()
    evidence.require_regimes(*(claim.name for claim in honest(0.5)))


@pytest.mark.theorem("T7", part="holds")
def test_closed_form_of_the_iterates(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.floats(0.01, 0.99))
    def attack(seed: int, eta: float) -> None:
        x = unit_interval(generator(seed))
        G = Reciprocal(eta)
        y = torch.zeros_like(x)
        for t in range(1, 31):
            y = G(y, x)
            formula = G.iterate_closed_form(x, t)
            # t steps of four roundings on both sides of the comparison, on quantities of size |y_t| <= 1/x.
            slack = gamma(8 * t + 16, torch.float64) * (formula.abs() + 1)
            margins = relative_margin(((y - formula).abs(), torch.zeros_like(y)), slack)
        settle(
            evidence,
            Kind.SAMPLED,
            "closed_form",
            margins,
            instances=BATCH,
            witness=lambda i: f"x = {float(x[i])}, eta = {eta}",
        )

    attack()


def declared_constants_are_attained(evidence: Recorder) -> None:
    """What the library declares is no larger than needed: at powers of two floating point is exact, and both are attained."""
    one = claim_of("one-sided", Reciprocal(0.5), unit_interval)
    x, other, y, z = (torch.tensor([value], dtype=torch.float64) for value in (0.25, 1.0, 8.0, -2.0))
    after, moved = (one.G(y, x) - one.G(z, x)).abs(), (one.G(y, x) - one.G(y, other)).abs()
    declared = {
        "contraction": contraction.sides(gap_after=after, gap_before=(y - z).abs(), mu=one.mu(x)),
        "simplicity": simplicity.sides(gap=moved, state_norm=y.abs(), delta=(x - other).abs(), L0=one.L0, L1=one.L1),
    }
    for name, (left, right) in declared.items():
        assert torch.equal(left, right), f"the library declares more than {name} needs"
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=f"{name}, as declared")


@pytest.mark.theorem("T7", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    unit = st.fractions(min_value=Fraction(1, 1000), max_value=1, max_denominator=1000)
    state = st.fractions(max_denominator=100)

    @MANY
    @given(
        unit,
        unit,
        state,
        state,
        st.fractions(min_value=Fraction(1, 50), max_value=Fraction(49, 50), max_denominator=50),
    )
    def equality(x: Fraction, other: Fraction, y: Fraction, z: Fraction, eta: Fraction) -> None:
        def G(v: Fraction, u: Fraction) -> Fraction:
            return v - eta * (u * v - 1)

        one = contraction.sides(gap_after=abs(G(y, x) - G(z, x)), gap_before=abs(y - z), mu=1 - eta * x)
        two = simplicity.sides(gap=abs(G(y, x) - G(y, other)), state_norm=abs(y), delta=abs(x - other), L0=0, L1=eta)
        for name, (lhs, rhs) in (("contraction", one), ("simplicity", two)):
            assert lhs == rhs
            evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=name)
            if rhs:
                evidence.caught(
                    f"{name} of the one-sided operator", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened"
                )

    equality()
    declared_constants_are_attained(evidence)
    # Two-sided: the budget is approached as x, x' -> 1 at negative y, where both changes have one sign.
    eta, tiny, far = Fraction(1, 2), Fraction(1, 10**6), Fraction(-1000)
    x, other = Fraction(1), 1 - tiny
    gap = abs((far - eta * x * (x * far - 1)) - (far - eta * other * (other * far - 1)))
    lhs, rhs = simplicity.sides(gap=gap, state_norm=abs(far), delta=tiny, L0=eta, L1=2 * eta)
    assert Fraction(999, 1000) * rhs < lhs <= rhs
    evidence.record(Kind.EXACT, instances=1, worst_margin=1 - lhs / rhs, quantity="simplicity: two-sided")
    evidence.caught("two-sided budget 1% smaller", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")


@pytest.mark.theorem("T7", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.no_contraction(evidence)
    # At x = 0 the operator is y + eta: no fixed point, and the input is refused by name.
    with pytest.raises(DomainError, match=r"x: got 0\.0 at sample 0, needed x in \(0, 1\]"):
        Reciprocal(0.5)(torch.zeros(1).double(), torch.zeros(1).double())
    with pytest.raises(InputError, match=r"eta: got 1\.5, needed 0 < eta < 1"):
        Reciprocal(1.5)
    # Without the bound on eta the factor |1 - eta x| passes 1: iterates from 0 at x = 1, eta = 5/2 run away exactly.
    y = Fraction(0)
    for _ in range(40):
        y -= Fraction(5, 2) * (y - 1)
    assert abs(y - 1) == Fraction(3, 2) ** 40
    evidence.control(
        "N2",
        "1/x with eta = 5/2 at x = 1: |y_40 - 1| = 1.5^40 exactly; at x = 0 the operator is y + eta and is refused",
    )


def wrong_claims() -> dict[str, Claim]:
    eta = 0.5
    one, two = (
        claim_of("one-sided", Reciprocal(eta), unit_interval),
        claim_of("two-sided", TwoSidedReciprocal(eta), both_sides),
    )
    square = claim_of("matrix", MatrixInverse(eta), matrices(3))
    identity = torch.eye(3, dtype=torch.float64)

    def changed(base: Claim, **parts: object) -> Claim:
        return Claim(**{**base.__dict__, **parts})

    def doubled(g: torch.Generator) -> Tensor:
        return 2 * matrices(3)(g)

    return {
        "one-sided operator used across 0": changed(
            one, inputs=both_sides, G=lambda y, x: y - eta * (x * y - 1), mu=lambda x: 1 - eta * x.abs()
        ),
        "mu off by 1%": changed(one, mu=lambda x: 0.99 * (1 - eta * x)),
        "one-sided budget 1% smaller": changed(one, L1=0.99 * eta),
        "two-sided factor 1 - eta |x|": changed(two, mu=lambda x: 1 - eta * x.abs()),
        "two-sided L0 forgotten": changed(two, L0=0.0),
        "two-sided L1 = eta": changed(two, L1=eta),
        "wrong sign": changed(one, G=lambda y, x: y - eta * (x * y + 1)),
        "transpose forgotten": changed(square, G=lambda y, x: y - eta * x @ (x @ y - identity)),
        "products swapped": changed(square, G=lambda y, x: y - eta * (x @ y - identity) @ x.mT, L1=0.9 * eta),
        "factor from the largest singular value": changed(
            square, mu=lambda x: 1 - eta * torch.linalg.svdvals(x)[:, 0] ** 2
        ),
        "norm of the matrices not bounded": changed(
            square, inputs=doubled, G=lambda y, x: y - eta * x.mT @ (x @ y - identity)
        ),
        "matrix L1 = eta": changed(square, L1=eta),
    }


@pytest.mark.theorem("T7", part="rejects")
@pytest.mark.parametrize("name", wrong_claims())
def test_rejects(evidence: Recorder, name: str) -> None:
    claim = wrong_claims()[name]
    worst = min(float(m.min()) for seed in range(4) for _, m, _ in margins_of(claim, generator(seed)))
    evidence.caught(name, worst)


@pytest.mark.theorem("T7", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Symbolic identities: they hold for all arguments, so the statements they give are proved."""
    x, u, y, z, eta = sympy.symbols("x u y z eta", real=True)
    t = sympy.Symbol("t", integer=True, nonnegative=True)

    def one(v: sympy.Expr, w: sympy.Expr) -> sympy.Expr:
        return v - eta * (w * v - 1)

    def two(v: sympy.Expr, w: sympy.Expr) -> sympy.Expr:
        return v - eta * w * (w * v - 1)

    formula = (1 - (1 - eta * x) ** t) / x
    identities = {
        "one-sided (R1): G(y,x) - G(z,x) = (1 - eta x)(y - z)": one(y, x) - one(z, x) - (1 - eta * x) * (y - z),
        "one-sided (R2): G(y,x) - G(y,u) = -eta y (x - u)": one(y, x) - one(y, u) + eta * y * (x - u),
        "two-sided (R1): G(y,x) - G(z,x) = (1 - eta x^2)(y - z)": two(y, x) - two(z, x) - (1 - eta * x**2) * (y - z),
        "two-sided (R2): G(y,x) - G(y,u) = eta (x - u)(1 - (x + u) y)": two(y, x)
        - two(y, u)
        - eta * (x - u) * (1 - (x + u) * y),
        "fixed points: G(1/x, x) = 1/x, one-sided": one(1 / x, x) - 1 / x,
        "fixed points: G(1/x, x) = 1/x, two-sided": two(1 / x, x) - 1 / x,
        "closed form: y_0 = 0 and y_{t+1} = G(y_t, x)": one(formula, x) - formula.subs(t, t + 1),
    }
    for statement, difference in identities.items():
        assert sympy.simplify(difference) == 0, statement
        evidence.record(
            Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=statement.split(":")[0], proved=statement
        )
    entries = sympy.symbols("a:d p:s e:h", real=True)
    A, Y, B = (sympy.Matrix(2, 2, list(entries[k : k + 4])) for k in (0, 4, 8))
    identity = sympy.eye(2)

    def inverse(v: sympy.Matrix, m: sympy.Matrix) -> sympy.Matrix:
        return v - eta * m.T * (m * v - identity)

    change = inverse(Y, A) - inverse(Y, B) - (eta * (A - B).T - eta * (A.T * (A - B) + (A - B).T * B) * Y)
    assert change.expand() == sympy.zeros(2)
    statement = "2 x 2 matrices (R2): G(Y,A) - G(Y,B) = eta (A-B)^T - eta (A^T (A-B) + (A-B)^T B) Y"
    evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="matrix (R2)", proved=statement)

    rational = st.fractions(min_value=Fraction(1, 200), max_value=1, max_denominator=200)

    @MANY
    @given(rational, rational, st.sampled_from([-1, 1]), st.fractions(max_denominator=50))
    def attack(a: Fraction, size: Fraction, sign: int, state: Fraction) -> None:
        step, b = Fraction(1, 3), sign * size

        def G(v: Fraction, w: Fraction) -> Fraction:
            return v - step * w * (w * v - 1)

        lhs, rhs = simplicity.sides(
            gap=abs(G(state, a) - G(state, b)), state_norm=abs(state), delta=abs(a - b), L0=step, L1=2 * step
        )
        evidence.record(
            Kind.EXACT,
            instances=1,
            worst_margin=1 - lhs / rhs if rhs else Fraction(0),
            quantity="simplicity: two-sided",
        )
        y_t = Fraction(0)
        for k in range(1, 4):
            y_t = y_t - step * (a * y_t - 1)
            assert closed_form.margin(iterate=y_t, eta=step, x=a, steps=k) == 0

    attack()
