"""The loop: every sample on its own, honest statuses, exact counts, and refusals in one line."""

from __future__ import annotations

import dataclasses
import pickle  # the attached solution has to survive process borders
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import GradientUnavailableError, InputError, NonFiniteError, ShapeError, SolverError
from eqtheory.norms import Euclidean, Spectral
from eqtheory.operators import FunctionOperator, ImplicitOperator, Regularity, as_operator
from eqtheory.roundoff import Rounding
from eqtheory.solvers import (
    Anderson,
    ConvergenceWarning,
    KrasnoselskiiMann,
    OnFailure,
    Picard,
    Quantity,
    Solution,
    Status,
    Stop,
    fixed_point,
)
from tests.problems import problem
from tests.solvers.laws import same_bits

RETURN = OnFailure.RETURN
ONE = torch.ones(1, dtype=torch.float64)
PER_SAMPLE = ("value", "status", "steps", "residual", "evaluations")


def half(y: Tensor, x: Tensor) -> Tensor:
    return 0.5 * y + x


def statuses(G: Any, y0: Tensor = ONE, **settings: Any) -> tuple[Status, ...]:
    return fixed_point(G, y0, y0, on_failure=RETURN, **settings).statuses


# Statuses


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_operators_without_contraction_are_reported(dtype: torch.dtype) -> None:
    one = torch.ones(1, dtype=dtype)
    assert statuses(lambda y, x: -y, one) == (Status.CYCLING,)
    assert statuses(lambda y, x: 2 * y + 1, one) == (Status.DIVERGED,)
    assert statuses(lambda y, x: y + 1, one, stop=Stop(max_steps=100)) == (Status.MAX_STEPS,)
    assert statuses(lambda y, x: y * torch.nan, one) == (Status.NON_FINITE,)


@pytest.mark.parametrize("period", [2, 3, 5, 7, 12])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_cycles_of_any_period_are_found(period: int, offset: float) -> None:
    y0 = (torch.arange(period, dtype=torch.float64) + offset).unsqueeze(0)
    s = fixed_point(lambda y, x: y.roll(1, dims=1), y0, y0, stop=Stop(rtol=1e-12), on_failure=RETURN)
    assert s.statuses == (Status.CYCLING,)
    # The anchor lies at most at twice the first multiple of 8 above the period; lcm(p, 8) <= 8 p steps behind it is a look.
    assert int(s.steps) <= 2 * 8 * period + 8 * period


def test_an_attracting_cycle_is_found() -> None:
    """The logistic map at 3.2 draws everything onto a cycle of period two, without ever being periodic at first."""
    assert statuses(lambda y, x: 3.2 * y * (1 - y), 0.3 * ONE) == (Status.CYCLING,)


@pytest.mark.parametrize("name", ["linear 0.9", "linear 0.99", "rotation", "relu"])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("solver", [Picard(), KrasnoselskiiMann(0.5), Anderson()], ids=lambda s: type(s).__name__)
def test_contractions_at_their_rounding_floor_stagnate(name: str, declared: bool, solver: Any) -> None:
    """They return to the anchor too, but are no cycles; whether a mu is known or not."""
    p = problem(name, torch.float32)
    G = p.operator if declared else p.operator.__call__  # a plain function declares nothing
    s = fixed_point(G, p.x, p.y0, solver=solver, stop=Stop(rtol=0.0, max_steps=5000), on_failure=RETURN)
    assert set(s.statuses) <= {Status.STAGNATED, Status.CONVERGED}
    assert p.error(s.value).max() < 1e-4 * p.operator.norm(p.y_star).max()


def test_a_known_mu_tells_amplified_rounding_from_a_cycle() -> None:
    """At mu = 0.999 rounding alone keeps residuals of 1000 roundoffs alive."""
    p = problem("linear 0.999", torch.float32)
    s = fixed_point(p.operator, p.x, p.y0, stop=Stop(rtol=0.0, max_steps=40_000), on_failure=RETURN)
    assert set(s.statuses) <= {Status.STAGNATED, Status.CONVERGED}
    assert Status.STAGNATED in s.statuses


def test_a_solver_that_does_not_move_stagnates() -> None:
    assert statuses(half, solver=KrasnoselskiiMann(1e-30)) == (Status.STAGNATED,)


def test_slow_progress_is_no_stagnation() -> None:
    """1 - mu = 1e-5 in float64: steps are tiny for long, and it goes on."""
    s = fixed_point(
        lambda y, x: (1 - 1e-5) * y + x, ONE, 0 * ONE, stop=Stop(rtol=1e-9, max_steps=300), on_failure=RETURN
    )
    assert s.statuses == (Status.MAX_STEPS,)


def test_transient_growth_is_no_divergence() -> None:
    """A nilpotent operator whose residual grows by 1e12 before it vanishes."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        return 1e4 * torch.nn.functional.pad(y[:, 1:], (0, 1)) + x

    y0 = torch.zeros(1, 4, dtype=torch.float64)
    x = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    s = fixed_point(G, x, y0, trace=True)
    assert s.trace.residuals.max() > 1e11
    assert s.value[0, 0] == 1e12
    assert statuses(lambda y, x: 3 * y, stop=Stop(divergence=100.0, max_steps=7)) == (Status.DIVERGED,)


def test_a_certified_stop_stagnates_where_rounding_forbids_it() -> None:
    p = problem("linear 0.99", torch.float32)
    stop = Stop(rtol=1e-9, of=Quantity.CERTIFIED_ERROR, max_steps=5000)
    s = fixed_point(p.operator, p.x, p.y0, stop=stop, on_failure=RETURN)
    assert set(s.statuses) == {Status.STAGNATED}


def test_every_status_advises() -> None:
    assert sorted(status.value for status in Status) == list(range(len(Status)))
    for status in Status:
        assert "\n" not in str(status)
        assert str(status) == f"{status.name.lower()}: {status.advice}"
        assert len(status.advice) > 20
    assert "Anderson()" in Status.MAX_STEPS.advice
    assert "KrasnoselskiiMann" in Status.CYCLING.advice
    assert "wider dtype" in Status.STAGNATED.advice


# One sample does not touch another


def mixed(y: Tensor, x: Tensor) -> Tensor:
    """By the input: halves, counts up to NaN or infinity at 4, flips its sign, doubles."""
    broken = torch.where(x == -1, torch.nan, torch.inf)
    counting = torch.where(y >= 4, broken, y + 1)
    g = torch.where(x < 0, counting, 0.5 * y + x)
    g = torch.where(x == 7, -y, g)
    return torch.where(x == 8, 2 * y + 1, g)


INPUTS = torch.tensor([1.0, -1.0, 3.0, -2.0, 7.0, 8.0, 1e-3], dtype=torch.float64)
STARTS = torch.tensor([0.0, 0.0, 1e3, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("check_every", [None, 1, 4, 7])
def test_failures_are_quarantined(check_every: int | None) -> None:
    stop = Stop(rtol=1e-9, check_every=check_every)
    s = fixed_point(mixed, INPUTS, STARTS, stop=stop, on_failure=RETURN)
    good, lost = Status.CONVERGED, Status.NON_FINITE
    assert s.statuses == (good, lost, good, lost, Status.CYCLING, Status.DIVERGED, good)
    assert bool(torch.isfinite(s.value).all())
    assert s.value[[1, 3]].tolist() == [4.0, 4.0]  # the last finite iterate
    assert s.steps[[1, 3]].tolist() == [4, 4]  # the step at which G failed there
    assert s.evaluations[[1, 3]].tolist() == [5, 5]
    assert s.residual[[1, 3]].tolist() == [torch.inf, torch.inf]
    healthy = [0, 2, 6]
    apart = fixed_point(mixed, INPUTS[healthy], STARTS[healthy], stop=stop)
    for name in PER_SAMPLE:
        assert same_bits(getattr(s, name)[healthy], getattr(apart, name)), name


def test_looking_less_often_changes_no_result() -> None:
    p = problem("relu", torch.float32)
    for solver in (Picard(), Anderson()):
        prompt, *lazy = (
            fixed_point(p.operator, p.x, p.y0, solver=solver, stop=Stop(rtol=1e-5, check_every=k))
            for k in (1, 3, 8, 50)
        )
        for other in lazy:
            for name in PER_SAMPLE:
                assert same_bits(getattr(other, name), getattr(prompt, name)), name
            assert prompt.calls <= other.calls
        assert lazy[1].calls % 8 == 1  # looked at steps 0, 8, 16, ...


def freezes(s: Solution) -> None:
    """Every sample's path is constant from its own last step on and ends at its value."""
    assert s.trace is not None
    assert s.trace.iterates is not None
    for i, step in enumerate(s.steps.tolist()):
        path = s.trace.iterates[:, i]
        assert same_bits(path[step:], s.value[i].expand_as(path[step:]))
        residuals = s.trace.residuals[step:, i]
        assert same_bits(residuals, s.residual[i].expand_as(residuals))


def owns_its_residual(s: Solution, G: Any, x: Tensor) -> None:
    again = Euclidean()(G(s.value, x) - s.value)
    assert same_bits(again, s.residual), "the residual belongs to another state"


@pytest.mark.parametrize("solver", [Picard(), KrasnoselskiiMann(0.3), Anderson()], ids=lambda s: type(s).__name__)
def test_samples_freeze_one_by_one(solver: Any) -> None:
    p = problem("relu", torch.float64)
    s = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=Stop(max_steps=5000), iterates=True)
    assert len(set(s.steps.tolist())) > 1
    freezes(s)
    owns_its_residual(s, p.operator, p.x)
    assert same_bits(s.evaluations, s.steps + 1)


def test_laws_of_freezing_and_of_residuals_can_fail() -> None:
    p = problem("reciprocal", torch.float64)
    s = fixed_point(p.operator, p.x, p.y0, stop=Stop(max_steps=5000), iterates=True)
    one_step_more = dataclasses.replace(s, value=p.operator(s.value, p.x))
    with pytest.raises(AssertionError):
        freezes(one_step_more)
    with pytest.raises(AssertionError, match="belongs to another state"):
        owns_its_residual(one_step_more, p.operator, p.x)
    thawed = dataclasses.replace(s, steps=s.steps - 1)
    with pytest.raises(AssertionError):
        freezes(thawed)


def test_a_last_iterate_is_reported_with_its_own_residual() -> None:
    p = problem("tanh", torch.float64)
    for steps in (0, 1, 5):
        s = fixed_point(p.operator, p.x, p.y0, stop=Stop(rtol=0.0, max_steps=steps), on_failure=RETURN)
        owns_its_residual(s, p.operator, p.x)
        assert s.calls == steps + 1


def test_batch_independence_needs_it_from_the_operator() -> None:
    """The check compares bits: an operator that averages over the batch is seen."""
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    both = fixed_point(lambda y, x: 0.5 * y + x + 1e-12 * y.mean(), x, 0 * x)
    alone = fixed_point(lambda y, x: 0.5 * y + x + 1e-12 * y.mean(), x[:1], 0 * x[:1])
    assert not same_bits(both.value[:1], alone.value)


def test_memory_layout_of_the_operator_does_not_matter() -> None:
    x = torch.randn(37, 500, generator=torch.Generator().manual_seed(0))
    plain = fixed_point(lambda y, x: 0.9 * torch.tanh(y) + x, x, 0 * x, solver=Anderson())

    def columns_first(y: Tensor, x: Tensor) -> Tensor:
        return (0.9 * torch.tanh(y.T.contiguous()) + x.T).T

    assert not columns_first(x, x).is_contiguous()
    turned = fixed_point(columns_first, x, 0 * x, solver=Anderson())
    for name in PER_SAMPLE:
        assert same_bits(getattr(plain, name), getattr(turned, name)), name


def test_a_spectral_norm_survives_a_broken_sample() -> None:
    """A singular value decomposition refuses the whole batch for one NaN; the neighbours must not notice."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.where((x < 0) & (y > 2), torch.nan, 0.5 * y + x.abs())

    constants = Regularity.declared(mu=0.5, L0=1.0, L1=0.0, state_norm=Spectral())
    x = torch.ones(3, 2, 2, dtype=torch.float64) * torch.tensor([1.0, -5.0, 2.0]).reshape(3, 1, 1)
    s = fixed_point(FunctionOperator(G, regularity=constants), x, 0 * x, on_failure=RETURN)
    assert s.statuses == (Status.CONVERGED, Status.NON_FINITE, Status.CONVERGED)
    assert s.error_bound.value[1] == torch.inf
    alone = fixed_point(FunctionOperator(G, regularity=constants), x[2:], 0 * x[2:])
    assert same_bits(alone.value[0], s.value[2])


# Relaxation cannot fool the test


@pytest.mark.parametrize("eps", [0.1, 0.01, 0.003])
def test_relaxation_does_not_shrink_its_own_stop_test(eps: float) -> None:
    """Fixed point 10; stopping on the length of relaxed steps of 1e-3 returns 9.9, 9.0 and 6.7 here."""
    constants = dataclasses.replace(Regularity.declared(mu=0.9, L0=1.0, L1=0.0), rounding=Rounding(4.0, 4.0))
    G = FunctionOperator(lambda y, x: 0.9 * y + x, regularity=constants)
    s = fixed_point(G, ONE, 0 * ONE, solver=KrasnoselskiiMann(eps), stop=Stop(rtol=1e-3, max_steps=200_000))
    assert abs(float(s.value) - 10) <= float(s.error_bound.value) <= 0.11
    early = 0.0
    while abs(step := eps * (0.9 * early + 1 - early)) > 1e-3:  # the fault: the step instead of the residual
        early += step
    assert abs(early - 10) > 0.9 * 1e-3 / (0.1 * eps)  # the error it leaves grows as the relaxation shrinks


# Solutions


def test_solution_sums_itself_up() -> None:
    p = problem("multiple", torch.float64)
    s = fixed_point(p.operator, p.x, p.y0, stop=Stop(rtol=1e-3))
    assert str(s).startswith("5 samples: 5 converged; residual <= ")
    assert ", error <= " in str(s)
    assert "\n" not in str(s)
    assert s.status.dtype is torch.int8
    assert s.trace is None
    assert s.failures() == ""
    assert s.count() == {Status.CONVERGED: 5}
    mixed_up = fixed_point(mixed, INPUTS, STARTS, on_failure=RETURN)
    assert str(mixed_up).startswith("7 samples: 3 converged, 1 diverged, 2 non_finite, 1 cycling; residual <= inf, ev")
    assert mixed_up.converged.tolist() == [True, False, True, False, False, False, True]


def test_trace_is_kept_only_on_request() -> None:
    p = problem("tanh", torch.float64)
    s = fixed_point(p.operator, p.x, p.y0, trace=True)
    assert s.trace.residuals.shape == (s.calls, 4)
    assert s.trace.iterates is None
    assert fixed_point(p.operator, p.x, p.y0).trace is None
    full = fixed_point(p.operator, p.x, p.y0, iterates=True).trace
    assert full.iterates.shape == (s.calls, *p.x.shape)
    assert same_bits(full.residuals, s.trace.residuals)
    assert same_bits(full.iterates[0], p.y0)


def test_the_value_has_storage_of_its_own() -> None:
    y0 = torch.tensor([2.0])
    s = fixed_point(half, torch.ones(1), y0)
    assert s.calls == 1  # converged at the start
    s.value.zero_()
    assert float(y0) == 2.0


def test_failure_is_raised_warned_or_returned() -> None:
    x = torch.tensor([7.0, 1.0, 8.0, 8.0], dtype=torch.float64)
    line = f"3 of 4 samples did not converge: 2 diverged: {Status.DIVERGED.advice}; 1 cycling: {Status.CYCLING.advice}"
    with pytest.raises(SolverError) as caught:
        fixed_point(mixed, x, torch.ones_like(x))
    assert str(caught.value) == line
    assert caught.value.solution.statuses[1] is Status.CONVERGED
    with pytest.warns(ConvergenceWarning) as warned:
        s = fixed_point(mixed, x, torch.ones_like(x), on_failure=OnFailure.WARN)
    assert str(warned[0].message) == line
    assert warned[0].filename == __file__
    again = pickle.loads(pickle.dumps(s))
    assert same_bits(again.status, caught.value.solution.status)
    assert same_bits(fixed_point(mixed, x, torch.ones_like(x), on_failure=RETURN).value, s.value)


def test_a_start_may_be_judged_without_a_step() -> None:
    s = fixed_point(half, ONE, 0 * ONE, stop=Stop(max_steps=0), on_failure=RETURN)
    assert (s.calls, s.steps.tolist(), s.residual.tolist()) == (1, [0], [1.0])


def test_an_operator_broken_at_the_start_keeps_the_start() -> None:
    s = fixed_point(lambda y, x: y / 0 * 0, ONE, 3 * ONE, on_failure=RETURN)
    assert (s.statuses, s.value.tolist(), s.steps.tolist()) == ((Status.NON_FINITE,), [3.0], [0])


def test_operators_bring_their_own_start() -> None:
    p = problem("tanh", torch.float64)
    assert same_bits(fixed_point(p.operator, p.x).value, fixed_point(p.operator, p.x, p.y0).value)


@dataclass
class Instance:
    matrix: Tensor
    rest: tuple[Tensor, dict[str, Tensor]]


def test_inputs_may_be_nests() -> None:
    x = Instance(0.5 * torch.ones(2, 3), (torch.ones(2, 3), {"b": torch.zeros(2, 3), "index": torch.arange(2)}))
    G = lambda y, x: x.matrix * y + x.rest[0] + x.rest[1]["b"]  # noqa: E731
    torch.testing.assert_close(fixed_point(G, x, torch.zeros(2, 3)).value, 2 * torch.ones(2, 3))
    x.rest[1]["b"][1, 2] = torch.inf
    with pytest.raises(NonFiniteError) as caught:
        fixed_point(G, x, torch.zeros(2, 3))
    assert str(caught.value) == (
        "x.rest[1]['b']: got a NaN or an infinity at index (1, 2), needed finite numbers; repair that input"
    )


# Refusals


class Shared(ImplicitOperator):
    """An operator whose values can be made wrong."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return self.change(y)

    def initial_state(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


X23 = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((half, X23), InputError, "y0: got None, needed an initial state, since the operator has none; pass y0="),
        ((half, X23, [1.0]), InputError, "y0: got list, needed a torch.Tensor; wrap it"),
        (
            (half, X23, torch.ones(2, 3).long()),
            InputError,
            "y0: got dtype torch.int64, needed a floating-point tensor;",
        ),
        ((half, X23, torch.tensor(1.0)), ShapeError, "y0: got a tensor without axes, needed a batch axis first;"),
        (
            (half, X23, torch.ones(0, 3)),
            ShapeError,
            "y0: got an empty batch of shape (0, 3), needed at least one sample;",
        ),
        ((half, X23, X23 * torch.inf), NonFiniteError, "y0: got inf at index (0, 0), needed finite numbers;"),
        (
            (half, X23 * torch.nan, X23),
            NonFiniteError,
            "x: got a NaN or an infinity at index (0, 0), needed finite numbers;",
        ),
        ((half, torch.ones(3, 3), X23), ShapeError, "x: got shape (3, 3) for states of shape (2, 3), needed 2 samples"),
        ((half, torch.tensor(1.0), X23), ShapeError, "x: got shape () for states of shape (2, 3), needed 2 samples"),
        ((lambda y, x: y[:, :1], X23, X23), ShapeError, "G(y, x): got shape (2, 1), needed the state's shape (2, 3);"),
        ((Shared(lambda y: y[:1]), X23), ShapeError, "G(y, x): got shape (1, 3), needed the state's shape (2, 3);"),
        ((Shared(lambda y: 3.0), X23), ShapeError, "G(y, x): got float, needed the state's shape (2, 3);"),
        (
            (lambda y, x: y.double(), X23, X23),
            InputError,
            "G(y, x): got torch.float64 on cpu, needed torch.float32 on cpu, as the states; cast inside G, or pass y0 so",
        ),
        (
            (lambda y, x: y.mul_(0.5), X23, X23),
            InputError,
            "G: got an operator that overwrites its argument y, needed one that returns a new tensor; replace in-place",
        ),
        (
            (3.0, X23, X23),
            InputError,
            "function: got float, needed a callable (y, x) -> y; pass a function or a Module",
        ),
    ],
)
def test_unusable_arguments_are_refused(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        fixed_point(*arguments)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rtol": -1.0}, "rtol: got -1.0, needed a finite number >= 0; pass for example rtol=1e-6"),
        ({"atol": float("nan")}, "atol: got nan, needed a finite number >= 0; pass for example atol=1e-6"),
        ({"max_steps": -1}, "max_steps: got -1, needed an integer >= 0; pass for example max_steps=1000"),
        ({"max_steps": 2.5}, "max_steps: got 2.5, needed an integer >= 0; pass for example max_steps=1000"),
        ({"check_every": 0}, "check_every: got 0, needed an integer >= 1 or None; leave it at None"),
        ({"divergence": 1.0}, "divergence: got 1.0, needed a finite number > 1 or None; leave it at None"),
        ({"of": "rel"}, "of: got 'rel', needed a Quantity; pass Quantity.RESIDUAL or Quantity.CERTIFIED_ERROR"),
    ],
)
def test_stop_checks_its_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Stop(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("eps", [0.0, -0.5, 1.5, float("nan")])
def test_relaxations_are_checked(eps: float) -> None:
    with pytest.raises(InputError, match=f"^eps: got {eps}, needed 0 < eps <= 1; pass for example eps=0.5$"):
        KrasnoselskiiMann(eps)


# Gradients


def test_a_gradient_that_would_be_lost_is_refused() -> None:
    torch_module = torch.nn.Linear(3, 3)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch_module

        def forward(self, y: Tensor, x: Tensor) -> Tensor:
            return 0.1 * torch.tanh(self.layer(y)) + x

    net, weight = Net(), torch.full((3,), 0.5, requires_grad=True)
    wanting = X23.clone().requires_grad_()
    cases = {
        "x requires a gradient": (half, wanting, X23),
        "x[0] requires a gradient": (lambda y, x: y, (wanting,), X23),
        "y0 requires a gradient": (half, X23, wanting),
        "parameter layer.weight of G requires a gradient": (net, X23, X23),
        "G(y, x) requires a gradient, through a parameter or a captured tensor": (
            lambda y, x: weight * y + x,
            X23,
            X23,
        ),
    }
    for why, arguments in cases.items():
        with pytest.raises(GradientUnavailableError) as caught:
            fixed_point(*arguments)
        assert str(caught.value) == (
            f"fixed_point returns values without gradients, and {why}; call it under torch.no_grad() or detach the tensor"
        )
        for context in (torch.no_grad(), torch.inference_mode()):
            with context:
                s = fixed_point(*arguments)
            assert bool(s.converged.all())
            assert not s.value.requires_grad
    with pytest.raises(GradientUnavailableError, match=r"parameter layer\.weight"):
        fixed_point(as_operator(net), X23, X23)


def test_grad_mode_is_left_as_it_was() -> None:
    seen = []

    def G(y: Tensor, x: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return half(y, x)

    fixed_point(G, X23, 0 * X23)
    assert seen[0]  # so that a gradient would have shown
    assert not any(seen[1:])
    assert torch.is_grad_enabled()
