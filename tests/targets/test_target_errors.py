"""What targets refuse, and in which words."""

from __future__ import annotations

import math

import pytest
import torch

from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from eqtheory.norms import Euclidean, Spectral, Sup
from eqtheory.targets import (
    CATALOGUE,
    Composition,
    ExpMap,
    FloorMap,
    GammaMap,
    InversionMap,
    KeplerMap,
    LambertWMap,
    LinearProgramMap,
    LogMap,
    MatrixInverseMap,
    MatrixSquareRootMap,
    NormalisationMap,
    QuadraticRootMap,
    ReciprocalMap,
    SqrtMap,
    TanMap,
    Target,
    TargetSum,
    TwoSidedReciprocalMap,
)


def f64(*values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert error.value.needed
    assert error.value.remedy
    return text


OUTSIDE: list[tuple[Target, torch.Tensor]] = [
    (ReciprocalMap(), f64(1.0, 0.0)),
    (ReciprocalMap(), f64(1.0, 1.5)),
    (TwoSidedReciprocalMap(), f64(0.5, 0.0)),
    (LogMap(), f64(1.0, -1.0)),
    (SqrtMap(), f64(1.0, 0.0)),
    (TanMap(), f64(0.0, 1.5707963267948968)),
    (GammaMap(), f64(1.0, -2.0)),
    (GammaMap(), f64(1.0, -4.0)),
    (LambertWMap(), f64(0.0, -math.exp(-1))),
    (InversionMap(), f64([1.0, 0.0, 0.0], [0.0, 0.0, 0.0])),
    (MatrixInverseMap(2), f64([[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 4.0]])),
    (MatrixInverseMap(2), f64([[1.0, 0.0], [0.0, 1.0]], [[0.1, 0.3], [0.3, 0.9]])),  # singular up to rounding
    (MatrixSquareRootMap(2), f64([[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]])),
    (MatrixSquareRootMap(2), f64([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [0.4, 1.0]])),
    (QuadraticRootMap(), f64([0.0, -1.0], [2.0, 1.0])),
    (KeplerMap(), f64([0.5, 0.0], [1.0, 0.0])),
    (FloorMap(), f64(0.5, 3.0)),
]


@pytest.mark.parametrize(("target", "x"), OUTSIDE, ids=[f"{t.name} {i}" for i, (t, _) in enumerate(OUTSIDE)])
def test_points_outside_the_domain(target: Target, x: torch.Tensor) -> None:
    assert target.contains(x).tolist() == [True, False]
    r = f64(0.1, 0.1)
    for call in (target, target.local_modulus, target.evaluation_error, lambda x: target.ball_bounds(x, r)):
        with pytest.raises(DomainError, match="at sample 1, needed") as error:
            call(x)
        assert target.domain in one_line(error)
    with pytest.raises(DomainError):
        target.reference(x[1])


@pytest.mark.parametrize(
    "data",
    [
        [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],  # a zero row: every basis is singular
        [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, -1.0, -1.0],  # infeasible
        [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0],  # primal degenerate
        [1.0, 0.0, 3.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0],  # dual degenerate: two optimal bases
    ],
)
def test_degenerate_programs(data: list[float]) -> None:
    with pytest.raises(
        DomainError, match="non-degenerate optimal basis; the program is infeasible, unbounded or degenerate"
    ):
        LinearProgramMap()(f64(data))


@pytest.mark.parametrize("target", CATALOGUE, ids=lambda t: t.name)
def test_shapes_and_types(target: Target) -> None:
    x = target.sample(3, generator=torch.Generator().manual_seed(0))
    r = torch.full((3,), 0.1, dtype=torch.float64)
    for bad in (math.nan, math.inf, -math.inf):
        broken = x.clone()
        broken.reshape(3, -1)[1, -1] = bad
        for call in (target, target.contains, target.local_modulus, lambda x: target.ball_bounds(x, r)):
            with pytest.raises(NonFiniteError, match=r"x: got -?(nan|inf) at index \(1") as error:
                call(broken)
            one_line(error)
    for wrong in (x[0], x[:0], x.unsqueeze(0)):
        with pytest.raises(ShapeError) as misshapen:
            target(wrong)
        one_line(misshapen)
    with pytest.raises(InputError, match=r"x: got list, needed a torch\.Tensor"):
        target(x.tolist())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="floating-point"):
        target(torch.ones(3, *target.input_shape, dtype=torch.int64))
    with pytest.raises(ShapeError, match="one sample of shape"):
        target.reference(x)


def test_radii() -> None:
    target, x = ReciprocalMap(), f64(0.5, 0.25)
    with pytest.raises(InputError, match=r"r: got 0\.0 at sample 1, needed r > 0") as error:
        target.ball_bounds(x, f64(0.1, 0.0))
    one_line(error)
    with pytest.raises(InputError, match=r"r: got -0\.1 at sample 0"):
        target.ball_bounds(x, f64(-0.1, 0.1))
    with pytest.raises(NonFiniteError, match="r: got inf"):
        target.ball_bounds(x, f64(0.1, math.inf))
    with pytest.raises(ShapeError, match=r"r: got shape \(1,\), needed \(2,\), one radius per centre"):
        target.ball_bounds(x, f64(0.1))
    with pytest.raises(ShapeError, match="r"):
        target.ball_bounds(x, f64([0.1], [0.1]))


def test_overflow_is_refused() -> None:
    with pytest.raises(
        NonFiniteError,
        match=r"a point whose value torch\.float64 cannot hold, at sample 1, needed a finite value; use a wider",
    ) as error:
        ExpMap()(f64(1.0, 1000.0))
    one_line(error)
    assert ExpMap()(f64(100.0)).isfinite().all()
    with pytest.raises(NonFiniteError, match=r"whose value torch\.float32 cannot hold, at sample 0"):
        ExpMap()(torch.tensor([100.0]))


def test_samples() -> None:
    g = torch.Generator().manual_seed(0)
    with pytest.raises(InputError, match="n: got 0, needed n >= 1"):
        LogMap().sample(0, generator=g)
    with pytest.raises(InputError, match=r"dtype: got torch\.int64, needed a floating-point type"):
        LogMap().sample(1, generator=g, dtype=torch.int64)

    class NowhereMap(SqrtMap):  # type: ignore[misc]  # final for users
        def _draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
            return -torch.rand(n, generator=generator, dtype=torch.float64)

    with pytest.raises(InputError, match="a type that holds points of x > 0"):
        NowhereMap().sample(1, generator=g)


def test_slopes_that_float64_cannot_show() -> None:
    with pytest.raises(
        InputError, match=r"slope: got 1e\+60, needed a slope that some float64 pair reaches \(best: "
    ) as error:
        TanMap().steep_pair(1e60)
    one_line(error)
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="slope: got"):
            TanMap().steep_pair(bad)
    with pytest.raises(InputError, match=r"depth: got 2\.0, needed 0 < depth <= 1"):
        TanMap().approach(f64(2.0))


def test_constructors() -> None:
    with pytest.raises(
        InputError, match="dimension: got 1, needed dimension >= 2; on the line use TwoSidedReciprocalMap"
    ):
        NormalisationMap(1)
    with pytest.raises(InputError, match="dimension: got 0"):
        MatrixInverseMap(0)
    with pytest.raises(InputError, match=r"norm: got sup, needed Spectral\(\) or Euclidean\(\)"):
        MatrixSquareRootMap(2, Sup())
    with pytest.raises(InputError, match="rows: got 4, needed 1 <= rows < 4"):
        LinearProgramMap(rows=4)
    with pytest.raises(InputError, match="needed positive costs"):
        LinearProgramMap((1.0, 0.0, 1.0))
    with pytest.raises(InputError, match="costs: got 184756 bases, needed at most 1000"):
        LinearProgramMap((1.0,) * 20, rows=10)
    with pytest.raises(
        InputError, match=r"inner: got values of shape \(3,\) in l2, needed shape \(\) in l2, the inputs of log"
    ):
        Composition(LogMap(), InversionMap(3))
    with pytest.raises(InputError, match=r"needed shape .* in l2"):
        Composition(MatrixInverseMap(2, Euclidean()), MatrixSquareRootMap(2, Spectral()))
    with pytest.raises(InputError, match=r"second: got input_shape \(3,\), needed input_shape \(\)"):
        TargetSum(LogMap(), InversionMap(3))
