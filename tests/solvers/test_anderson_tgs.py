"""What is particular to truncated Gram-Schmidt and to its compiled step, and to Barzilai and Borwein's step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from eqtheory.errors import InputError
from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    BarzilaiBorwein,
    OnFailure,
    Picard,
    Solver,
    Stop,
    _compiled_step,
    _native,
    _safeguard,
    compile_kernels,
    fixed_point,
)
from tests.problems import PROBLEMS, problem
from tests.solvers.laws import same_bits
from tests.solvers.samples import matvec, with_spectrum

RETURN = OnFailure.RETURN


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("mixing", [1.0, 0.5])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_terminates_on_linear_operators_with_few_eigenvalues(k: int, mixing: float, native: bool) -> None:
    """`k` distinct eigenvalues of a symmetric Jacobian need `k + 2` evaluations, though only two directions are kept."""
    W = with_spectrum(*(0.999, -0.9, 0.3, 0.7)[:k])
    x = torch.ones(2, 30, dtype=torch.float64)
    x[1] *= torch.linspace(1, 3, 30, dtype=torch.float64)
    solver = AndersonTGS(2, mixing=mixing, native=native)
    s = fixed_point(lambda y, x: matvec(W, y) + x, x, 0 * x, solver=solver, stop=Stop(rtol=1e-7))
    assert int(s.evaluations.max()) <= k + 2


def test_directions_are_orthogonal_and_explain_their_moves() -> None:
    """`d = (J - I) (move - beta d...)`: for a linear operator and `beta = 1`, `w - d` is the step whose residual changes by `d`."""
    W = with_spectrum(0.9, -0.5, 0.2, normal=False)
    x = torch.ones(1, 30, dtype=torch.float64)
    solver = AndersonTGS(3)
    y = torch.zeros_like(x)
    state = solver.init(y)
    for _ in range(4):
        y, state = solver.step(state, y, matvec(W, y) + x, torch.ones(1, dtype=torch.bool))
    basis = torch.stack(state.directions, dim=1)[0]
    unit = basis / basis.norm(dim=1, keepdim=True)
    torch.testing.assert_close(unit @ unit.T, torch.eye(3, dtype=torch.float64), atol=1e-10, rtol=0.0)
    for d, w in zip(state.directions, state.moves, strict=True):
        step = w - d
        torch.testing.assert_close(matvec(W, step) - step, d, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize(
    "pair",
    [
        (AndersonTGS(2), AndersonTGS(2, native=True)),
        (AndersonTGS(5, mixing=0.7), AndersonTGS(5, mixing=0.7, native=True)),
        (Anderson(regularization=1e-4), Anderson(regularization=1e-4, native=True)),
        (
            Anderson(2, mixing=0.7, regularization=1e-4),
            Anderson(2, mixing=0.7, regularization=1e-4, native=True),
        ),
    ],
    ids=lambda pair: repr(pair[0]),
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_compiled_step_is_the_same_iteration(
    name: str, dtype: torch.dtype, pair: tuple[Solver[Any], Solver[Any]]
) -> None:
    """Five steps agree to rounding, amplified by what projections on nearly dependent differences can amplify.

    Normal equations with a ridge of 1e-4 on unit columns amplify by its reciprocal.
    """
    p = problem(name, dtype)
    settings: dict[str, Any] = {
        "stop": Stop(rtol=0.0, max_steps=5, divergence=1e30),
        "on_failure": RETURN,
        "iterates": True,
    }
    plain, native = (fixed_point(p.operator, p.x, p.y0, solver=solver, **settings).trace.iterates for solver in pair)
    steps = min(len(plain), len(native))
    size = plain.abs().amax() + 1
    assert float((plain[:steps] - native[:steps]).abs().max() / size) <= 1e4 * torch.finfo(dtype).eps


def kinked(solver: Solver[Any]) -> tuple[int, int]:
    """Contractions `|W y + x|` of the plane with factor 0.9: how many of 200 converge, and in how many evaluations."""
    g = torch.Generator().manual_seed(202)
    W = torch.randn(200, 2, 2, generator=g, dtype=torch.float64)
    W = 0.9 * W / torch.linalg.matrix_norm(W, ord=2).reshape(-1, 1, 1)
    x = 3 * torch.randn(200, 2, generator=g, dtype=torch.float64)
    stop = Stop(rtol=1e-10, max_steps=2000)
    s = fixed_point(
        lambda y, x: (matvec(W, y) + x).abs(), x, 0 * x, solver=solver, stop=stop, on_failure=RETURN, trace=True
    )
    return int(s.converged.sum()), int(s.evaluations.max())


@pytest.mark.parametrize(
    "solver", [Anderson(native=True), AndersonTGS(2), AndersonTGS(2, native=True), BarzilaiBorwein()], ids=repr
)
def test_safeguard_makes_every_contraction_converge(solver: Solver[Any]) -> None:
    converged, evaluations = kinked(solver)
    assert converged == 200
    assert evaluations < 500


@pytest.mark.parametrize("solver", [AndersonTGS(2), BarzilaiBorwein()], ids=repr)
def test_without_the_safeguard_some_do_not(solver: Solver[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_safeguard.Guard, "follow", lambda self, size, image, proposal, **rest: (None, proposal, self))
    assert kinked(solver)[0] < 200


def test_a_barzilai_borwein_step_is_the_reciprocal_of_a_rayleigh_quotient() -> None:
    W = with_spectrum(0.9, -0.5, 0.2)
    x = torch.randn(3, 30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    solver, y = BarzilaiBorwein(), torch.zeros_like(x)
    state, before = solver.init(y), None
    for _ in range(5):
        g = matvec(W, y) + x
        f = g - y
        y_next, state = solver.step(state, y, g, torch.ones(3, dtype=torch.bool))
        if before is not None:
            rayleigh = ((before - matvec(W, before)) * before).sum(dim=1) / (before * before).sum(dim=1)
            torch.testing.assert_close(state.length, 1 / rayleigh, rtol=1e-9, atol=0.0)
            torch.testing.assert_close(y_next, y + f / rayleigh.unsqueeze(1), rtol=1e-9, atol=1e-9)
        before, y = f, y_next


def test_barzilai_borwein_beats_picard_on_symmetric_operators() -> None:
    W = with_spectrum(*torch.linspace(-0.99, 0.99, 30).tolist())
    x = torch.ones(1, 30, dtype=torch.float64)
    needed = [
        int(fixed_point(lambda y, x: matvec(W, y) + x, x, 0 * x, solver=s, stop=Stop(max_steps=9000)).evaluations)
        for s in (BarzilaiBorwein(), Picard())
    ]
    assert needed[0] * 4 < needed[1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("solver", [AndersonTGS(), AndersonTGS(native=True), BarzilaiBorwein()], ids=repr)
def test_half_precision_is_worked_in_float32(solver: Solver[Any], dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, -2.0, 5.0]], dtype=dtype)
    s = fixed_point(lambda y, x: 0.5 * y + x, x, 0 * x, solver=solver, stop=Stop(rtol=8 * torch.finfo(dtype).eps))
    assert s.value.dtype is dtype
    torch.testing.assert_close(s.value, 2 * x, rtol=40 * torch.finfo(dtype).eps, atol=0.0)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 17), (2, 16), (5, 3, 7)], ids=str)
def test_every_shape_passes_the_compiled_step(shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    s = fixed_point(
        lambda y, x: 0.9 * torch.sin(y) + x, x, 0 * x, solver=AndersonTGS(native=True), stop=Stop(rtol=1e-10)
    )
    plain = fixed_point(lambda y, x: 0.9 * torch.sin(y) + x, x, 0 * x, solver=AndersonTGS(), stop=Stop(rtol=1e-10))
    torch.testing.assert_close(s.value, plain.value, rtol=1e-8, atol=1e-8)


def test_steps_write_into_nothing_that_was_returned() -> None:
    p = problem("tanh", torch.float64)
    for native in (False, True):
        solver = AndersonTGS(2, native=native)
        first = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=Stop(rtol=0.0, max_steps=5), on_failure=RETURN)
        value, residual = first.value.clone(), first.residual.clone()
        fixed_point(p.operator, p.x, first, solver=solver)
        assert same_bits(first.value, value)
        assert same_bits(first.residual, residual)


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine on which the kernels have not been compiled yet, and its cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget = (_native.compiled.cache_clear, _compiled_step._step.cache_clear)
    for clear in forget:
        clear()
    yield tmp_path
    for clear in forget:
        clear()


def test_a_missing_or_broken_compiler_is_said(monkeypatch: pytest.MonkeyPatch, nothing_compiled: Path) -> None:
    x = torch.ones(1, 2)
    halve = lambda y, x: 0.5 * y + x  # noqa: E731
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(InputError, match="native: got True, and no C compiler, needed gcc or clang"):
        fixed_point(halve, x, 0 * x, solver=AndersonTGS(native=True))
    broken = nothing_compiled / "cc"
    broken.write_text("#!/bin/sh\necho 'internal error' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(InputError, match="a compiler that says 'internal error'"):
        compile_kernels()
    useless = nothing_compiled / "useless"
    useless.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho nothing > "$2"\n')
    useless.chmod(0o755)
    monkeypatch.setenv("CC", str(useless))
    with pytest.raises(InputError, match=r"a library that cannot be loaded \(.*\.so\), needed one that can"):
        compile_kernels()
    assert fixed_point(halve, x, 0 * x, solver=AndersonTGS()).value.tolist() == [[2.0, 2.0]]


def test_nothing_is_compiled_unasked(monkeypatch: pytest.MonkeyPatch, nothing_compiled: Path) -> None:
    x = torch.ones(3, 2)
    for solver in (Picard(), AndersonTGS(), Anderson()):
        fixed_point(lambda y, x: 0.5 * y + x, x, 0 * x, solver=solver)
    assert not list(nothing_compiled.glob("eqtheory/*"))
    assert _native.compiled() is None
    assert compile_kernels().parent == nothing_compiled / "eqtheory"
    assert _native.compiled() is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AndersonTGS(0), "memory: got 0, needed an integer >= 1; pass memory=3, or use Picard()"),
        (lambda: AndersonTGS(mixing=0.0), "mixing: got 0.0, needed 0 < mixing <= 1; pass for example mixing=0.5"),
        (lambda: AndersonTGS(floor=1.0), "floor: got 1.0, needed 0 <= floor < 1; pass 1e-7"),
        (lambda: AndersonTGS(growth=1.0), "growth: got 1.0, needed a number > 1; pass growth=10.0"),
        (lambda: BarzilaiBorwein(growth=0.5), "growth: got 0.5, needed a number > 1; pass growth=1000.0"),
        (lambda: BarzilaiBorwein(patience=0), "patience: got 0, needed an integer >= 1; pass patience=50"),
    ],
)
def test_arguments_are_checked(make: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message
