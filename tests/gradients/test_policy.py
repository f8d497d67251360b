"""Adjoints that are not the gradient: raised, warned of or replaced, never returned in silence."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import AdjointError, InputError, NonFiniteError
from eqtheory.gradients import (
    AdjointLog,
    AdjointMemory,
    AdjointWarning,
    Implicit,
    Neumann,
    OnAdjointFailure,
    Replacement,
    fixed_point,
)
from eqtheory.norms import Sup
from eqtheory.operators import FunctionOperator, Regularity
from eqtheory.solvers import Anderson, AndersonTGS, Broyden, NewtonKrylov, OnFailure, Picard, Status, Stop
from tests.gradients.operators import normal

RAISE, WARN, FALL_BACK = OnAdjointFailure.RAISE, OnAdjointFailure.WARN, OnAdjointFailure.FALL_BACK
RADII = (0.9, 0.999, 1.0, 1.1)
TIGHT = Stop(rtol=1e-9, max_steps=400)


def matrix(radius: float, kind: str, n: int = 6) -> Tensor:
    """A non-normal matrix with that spectral radius, attained by a real eigenvalue or by a complex pair."""
    blocks = torch.diag(torch.linspace(0.1, 0.5, n, dtype=torch.float64) * min(radius, 1.0))
    if kind == "real":
        blocks[0, 0] = radius
    else:
        angle = torch.tensor(1.1, dtype=torch.float64)
        blocks[:2, :2] = radius * torch.stack(
            [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
        )
    basis = torch.eye(n, dtype=torch.float64) + 0.3 * normal(5, n, n)
    return basis @ blocks @ torch.linalg.inv(basis)


def at_equilibrium(J: Tensor, rule: Any) -> tuple[Tensor, Tensor, AdjointLog]:
    """The affine operator `J y + x` with `x = y - J y`, solved by starting there: whatever `J` is, the adjoint alone is in question."""
    y = normal(7, 3, J.shape[0])
    x = (y - y @ J.T).requires_grad_()
    found = fixed_point(
        lambda y, x: y @ J.T + x, x, y, gradient=rule, stop=Stop(rtol=1e-12), on_failure=OnFailure.RETURN
    )
    assert bool(found.converged.all())
    return found.value, x, found.adjoint


def exact(J: Tensor, v: Tensor) -> Tensor:
    return torch.linalg.solve(torch.eye(len(J), dtype=J.dtype) - J.T, v.T).T


V = normal(8, 3, 6)
SOLVERS = (Picard(), Anderson(), AndersonTGS(3), Broyden(), NewtonKrylov())


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("radius", RADII)
def test_nothing_is_returned_in_silence(radius: float, kind: str, solver: Any) -> None:
    J = matrix(radius, kind)
    assert float(torch.linalg.eigvals(J).abs().max()) == pytest.approx(radius)
    y, x, log = at_equilibrium(J, Implicit(solver=solver, stop=TIGHT))
    failed = None
    try:
        (g,) = torch.autograd.grad(y, x, V)
    except AdjointError as error:
        failed = error
    if failed is not None:
        assert radius >= 0.999  # a contraction of 0.9 is no excuse
        assert failed.report is log.last
        assert not bool(failed.report.sound.all())
        return
    assert radius < 1
    torch.testing.assert_close(g, exact(J, V), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("radius", RADII)
def test_what_fails_is_replaced_by_a_dense_solve(radius: float, kind: str, solver: Any) -> None:
    J = matrix(radius, kind)
    y, x, log = at_equilibrium(J, Implicit(solver=solver, stop=TIGHT, on_failure=FALL_BACK))
    singular = radius == 1.0 and kind == "real"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if singular:
            with pytest.raises(AdjointError, match="singular"):
                torch.autograd.grad(y, x, V)
            return
        (g,) = torch.autograd.grad(y, x, V)
    torch.testing.assert_close(g, exact(J, V), rtol=1e-5, atol=1e-6)
    assert log.last is not None
    replaced = log.last.replacement == Replacement.DENSE.value
    said = [w for w in caught if issubclass(w.category, AdjointWarning)]
    assert bool(replaced.any()) == bool(said)
    if radius >= 1:
        assert bool(replaced.all())


def test_a_warning_says_what_is_used() -> None:
    y, x, log = at_equilibrium(matrix(1.1, "real"), Implicit(solver=Picard(), stop=TIGHT, on_failure=WARN))
    with pytest.warns(AdjointWarning, match=r"adjoint of 3 samples: 3 not solved \((diverged|max_steps)\)"):
        torch.autograd.grad(y, x, V)
    assert log.last is not None
    assert "Picard" in str(log.last)
    assert not bool(log.last.solved.any())


def test_expansion_is_accepted_where_it_is_expected() -> None:
    J = matrix(1.1, "complex")
    y, x, _ = at_equilibrium(J, Implicit(stop=TIGHT))
    with pytest.raises(AdjointError, match=r"eigenvalue of dG/dy of modulus about 1\.1.*expects_contraction=False"):
        torch.autograd.grad(y, x, V)
    y, x, log = at_equilibrium(J, Implicit(stop=TIGHT, expects_contraction=False))
    torch.testing.assert_close(torch.autograd.grad(y, x, V)[0], exact(J, V), rtol=1e-6, atol=1e-7)
    assert log.last is not None
    assert bool(log.last.sound.all())


def test_a_large_norm_alone_is_no_expansion() -> None:
    J = torch.tensor([[0.5, 10.0], [0.0, 0.5]], dtype=torch.float64)
    y, x, _ = at_equilibrium(J, Implicit(stop=TIGHT))
    v = normal(9, 3, 2)
    torch.testing.assert_close(torch.autograd.grad(y, x, v)[0], exact(J, v), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("solver", [AndersonTGS(3), NewtonKrylov()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n", [3, 12, 48])
def test_contractions_are_not_suspected_in_vain_and_expansions_are_seen(n: int, seed: int, solver: Any) -> None:
    W = normal(seed, n, n)
    radius = float(torch.linalg.eigvals(W).abs().max())
    for size, sound in ((0.95, True), (1.1, False)):
        J = W * (size / radius)
        y = normal(100 + seed, 3, n)
        x = (y - y @ J.T).requires_grad_()
        rule = Implicit(solver=solver, stop=Stop(rtol=1e-9))
        found = fixed_point(lambda y, x: y @ J.T + x, x, y, gradient=rule, stop=Stop(rtol=1e-11))  # noqa: B023
        v = normal(200 + seed, 3, n)
        if sound:
            torch.testing.assert_close(torch.autograd.grad(found.value, x, v)[0], exact(J, v), rtol=1e-6, atol=1e-6)
        else:
            with pytest.raises(AdjointError):
                torch.autograd.grad(found.value, x, v)


def test_only_the_samples_that_fail_are_replaced() -> None:
    factors = torch.tensor([[0.5], [1.2], [0.9]], dtype=torch.float64)
    y = normal(1, 3, 4)
    x = (y - factors * y).requires_grad_()
    G = lambda y, x: x[1] * y + x[0]  # noqa: E731
    rule = Implicit(solver=Picard(), on_failure=FALL_BACK, stop=Stop(rtol=1e-4, max_steps=400))
    found = fixed_point(G, (x, factors), y, gradient=rule, stop=Stop(rtol=1e-12), on_failure=OnFailure.RETURN)
    with pytest.warns(AdjointWarning, match="replaced by: dense"):
        (g,) = torch.autograd.grad(found.value.sum(), x)
    exact = (1 / (1 - factors)).expand(3, 4)
    torch.testing.assert_close(g, exact, rtol=2e-3, atol=0.0)
    # To the last digits where a matrix was solved, to the tolerance and no further where the solver's answer stands.
    wrong = ((g - exact) / exact).abs().amax(dim=1) > 1e-10
    assert wrong.tolist() == [True, False, True]
    assert found.adjoint.last.replacement.tolist() == [0, 1, 0]
    assert found.adjoint.last.status.tolist()[0] == Status.CONVERGED.value


def test_in_large_dimension_the_best_partial_sum_stands_in() -> None:
    factors = torch.tensor([0.5, 1.2], dtype=torch.float64)
    y = torch.ones(2, 1, dtype=torch.float64)
    x = (y - factors.unsqueeze(1) * y).requires_grad_()
    rule = Implicit(solver=Picard(), on_failure=FALL_BACK, exact_up_to=0, stop=TIGHT)
    found = fixed_point(
        lambda y, x: x[1].unsqueeze(1) * y + x[0],
        (x, factors),
        y,
        gradient=rule,
        stop=Stop(rtol=1e-12),
        on_failure=OnFailure.RETURN,
    )
    # Every partial sum leaves a residual above |v| at 1.2: nothing is nearer than no gradient at all.
    with pytest.raises(AdjointError, match="partial_sum"):
        torch.autograd.grad(found.value.sum(), x)


def test_the_look_for_expansion_does_not_cut_what_can_not_be_cut() -> None:
    """A shared factor as long as the batch would be taken for one of its samples."""
    w = torch.tensor([1.1, 0.5, 0.1, 0.3, 0.2, 0.1], dtype=torch.float64)
    s = torch.tensor([[0.3], [0.3], [1.0], [0.3], [0.3], [0.3]], dtype=torch.float64)
    y = normal(1, 6, 6)
    x = (y - s * y * w).requires_grad_()
    found = fixed_point(
        lambda y, x: x[2] * (y * x[1]) + x[0], (x, w, s), y, stop=Stop(rtol=1e-12), on_failure=OnFailure.RETURN
    )
    with pytest.raises(AdjointError, match=r"modulus about 1\.1"):
        torch.autograd.grad(found.value.sum(), x)


def test_captured_samples_pass_the_look_for_expansion() -> None:
    slow = torch.full((12, 1), 0.3, dtype=torch.float64)
    slow[[2, 7]] = 0.985
    x = normal(2, 12, 6).requires_grad_()
    found = fixed_point(lambda y, x: slow * y + x, x, x.detach() / (1 - slow), stop=Stop(rtol=1e-10))
    (g,) = torch.autograd.grad(found.value.sum(), x)
    torch.testing.assert_close(g, (1 / (1 - slow)).expand(12, 6), rtol=1e-8, atol=1e-8)


def test_the_best_partial_sum_is_the_one_with_the_smallest_next_term() -> None:
    J = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 3.0, 1.2]], dtype=torch.float64)
    y = normal(3, 2, 3)
    x = (y - y @ J.T).requires_grad_()
    v = torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64).expand(2, 3).clone()
    v[:, 2] = 1e-3
    rule = Implicit(solver=Picard(), on_failure=FALL_BACK, exact_up_to=0, stop=TIGHT)
    found = fixed_point(
        lambda y, x: y @ J.T + x, x, y, gradient=rule, stop=Stop(rtol=1e-12), on_failure=OnFailure.RETURN
    )
    with pytest.warns(AdjointWarning, match="partial_sum"):
        (g,) = torch.autograd.grad(found.value, x, v)
    terms = [v[0] @ torch.linalg.matrix_power(J, k) for k in range(20)]
    best = min(range(1, 20), key=lambda k: float(terms[k].norm()))
    assert best < 19
    torch.testing.assert_close(g[0], torch.stack(terms[:best]).sum(dim=0), rtol=1e-12, atol=1e-14)


def test_bounds_hold_and_say_what_they_rest_on() -> None:
    J = 0.9 * torch.linalg.qr(normal(3, 6, 6)).Q
    operator = FunctionOperator(lambda y, x: y @ J.T + x, regularity=Regularity.declared(mu=0.9, L0=1.0, L1=0.0))
    x = normal(4, 5, 6).requires_grad_()
    v = normal(5, 5, 6)
    for rule in (Implicit(stop=Stop(rtol=1e-3)), Neumann(8)):
        found = fixed_point(operator, x, torch.zeros(5, 6).double(), gradient=rule, stop=Stop(rtol=1e-12))
        (g,) = torch.autograd.grad(found.value, x, v)
        error = torch.linalg.vector_norm(g - exact(J, v), dim=1)
        report = found.adjoint.last
        assert report.error_bound is not None
        assert bool((error <= report.error_bound.value).all())
        assert bool((report.error_bound.value <= 25 * error).all())  # neither violated nor vacuous
        assert "error <=" in str(report)


@pytest.mark.parametrize("policy", OnAdjointFailure)
def test_a_gradient_that_is_not_finite_is_refused(policy: OnAdjointFailure) -> None:
    y, x, _ = at_equilibrium(matrix(0.5, "real"), Implicit(on_failure=policy))
    v = V.clone()
    v[1, 2] = torch.nan
    with pytest.raises(NonFiniteError, match=r"the gradient of the loss: got a NaN or an infinity at index \(1, 2\)"):
        torch.autograd.grad(y, x, v)


def test_a_derivative_that_is_not_finite_is_refused() -> None:
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64, requires_grad=True)
    G = lambda y, x: 0.5 * torch.sqrt(y) * x  # noqa: E731  (the derivative at y = 0 is infinite)
    found = fixed_point(G, x, torch.zeros(2, 1).double() + 1, on_failure=OnFailure.RETURN)
    with pytest.raises((AdjointError, NonFiniteError)):
        torch.autograd.grad(found.value.sum(), x)


@pytest.mark.parametrize("terms", [1, 3, 20])
def test_neumann_says_when_its_terms_do_not_shrink(terms: int) -> None:
    for radius, kind in ((1.0, "complex"), (1.1, "real"), (1.1, "complex")):
        J = matrix(radius, kind)
        v = torch.linalg.eig(J.T).eigenvectors[:, torch.linalg.eigvals(J.T).abs().argmax()].real.expand(3, 6).clone()
        y, x, _ = at_equilibrium(J, Neumann(terms))
        if terms == 1 and kind == "complex":
            continue  # one product can be shorter than what it is of
        with pytest.raises(AdjointError):
            torch.autograd.grad(y, x, v)
    y, x, log = at_equilibrium(matrix(0.9, "real"), Neumann(60))
    torch.autograd.grad(y, x, V)
    assert log.last is not None
    assert log.last.method == "Neumann(60)"
    rest = V @ torch.linalg.matrix_power(matrix(0.9, "real"), 60)  # the next term, (J^T)^60 v
    torch.testing.assert_close(log.last.residual, torch.linalg.vector_norm(rest, dim=1), rtol=1e-9, atol=1e-12)
    assert log.last.evaluations.tolist() == [60, 60, 60]


def test_a_factor_in_another_norm_is_taken_at_its_word() -> None:
    J = torch.tensor(
        [[0.0, 0.9, 0.0], [0.0, 0.9, 0.0], [0.0, 0.9, 0.0]], dtype=torch.float64
    )  # row sums 0.9, Euclidean norm 1.56
    sup = Regularity.declared(mu=0.9, L0=1.0, L1=0.0, state_norm=Sup(), input_metric=Sup())
    v = torch.ones(2, 3, dtype=torch.float64)
    for known in (True, False):
        operator = FunctionOperator(lambda y, x: y @ J.T + x, regularity=sup if known else None)
        x = normal(2, 2, 3).requires_grad_()
        y = fixed_point(operator, x, torch.zeros(2, 3).double(), gradient=Neumann(1), stop=Stop(rtol=1e-12)).value
        if known:
            assert torch.equal(torch.autograd.grad(y, x, v)[0], v)
        else:
            with pytest.raises(AdjointError):
                torch.autograd.grad(y, x, v)


def test_memory_saves_products_and_changes_nothing_else() -> None:
    J = matrix(0.95, "complex")
    memory = AdjointMemory()
    rule = Implicit(stop=Stop(rtol=1e-10), memory=memory)
    products, gradients = [], []
    for _ in range(2):
        y, x, log = at_equilibrium(J, rule)
        gradients.append(torch.autograd.grad(y, x, V)[0])
        assert log.last is not None
        products.append(int(log.last.evaluations.max()))
    assert products[1] == 1 < products[0]
    y, x, _ = at_equilibrium(J, rule)
    with torch.autograd.profiler.profile() as seen:
        torch.autograd.grad(y, x, V)
    # One product in the solve and one on the way to x: nothing is looked for a second time, unseen.
    assert sum(event.count for event in seen.key_averages() if event.key == "MmBackward0") <= 3
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-8, atol=1e-8)
    y, x, _ = at_equilibrium(matrix(0.5, "real", n=4), rule)  # another shape starts anew
    v = normal(3, 3, 4)
    torch.testing.assert_close(
        torch.autograd.grad(y, x, v)[0], exact(matrix(0.5, "real", n=4), v), rtol=1e-7, atol=1e-7
    )


def test_bad_arguments_are_answered_in_one_line() -> None:
    wrong: list[tuple[Any, str]] = [
        (lambda: Implicit(solver=Picard), "solver: got Picard, needed a Solver"),  # type: ignore[arg-type]
        (lambda: Implicit(stop=1e-6), "stop: got 1e-06, needed a Stop"),  # type: ignore[arg-type]
        (lambda: Implicit(on_failure="raise"), "on_failure: got 'raise', needed a OnAdjointFailure"),  # type: ignore[arg-type]
        (lambda: Implicit(exact_up_to=-1), "exact_up_to: got -1"),
        (lambda: Implicit(memory=3), "memory: got 3"),  # type: ignore[arg-type]
        (lambda: Neumann(0), "terms: got 0"),
        (lambda: Neumann(3, on_failure=1), "on_failure: got 1"),  # type: ignore[arg-type]
    ]
    for make, message in wrong:
        with pytest.raises(InputError, match="^" + message.replace("(", r"\(")):
            make()


def test_an_error_crosses_process_borders_whole() -> None:
    y, x, _ = at_equilibrium(matrix(1.1, "real"), Implicit(stop=TIGHT))
    with pytest.raises(AdjointError) as caught:
        torch.autograd.grad(y, x, V)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert torch.equal(again.report.status, caught.value.report.status)
