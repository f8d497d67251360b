"""Norms of derivatives from products alone: against dense matrices, with residuals that mean something."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.errors import GradientUnavailableError, InputError, NonFiniteError
from eqtheory.lipschitz import dense_jacobian, exact_jacobian_norm, jacobian_norm
from eqtheory.norms import Euclidean, Norm, Sum, Sup, Weighted
from eqtheory.operators import Linearization


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spectrum(values: Tensor, seed: int) -> Tensor:
    n = len(values)
    left, right = torch.linalg.qr(draw(seed, n, n))[0], torch.linalg.qr(draw(seed + 1, n, n))[0]
    return left @ torch.diag(values) @ right


SPECTRA = {
    "random": draw(1, 200, 200),
    "flat": spectrum(torch.linspace(0.5, 1, 200).double(), 2),
    "decaying": spectrum(1 / torch.arange(1, 201).double(), 4),
    "clustered at the top": spectrum(torch.cat([torch.ones(20), torch.full((180,), 0.999)]).double(), 6),
    "rank one": draw(8, 200, 1) @ draw(9, 1, 200),
    "zero": torch.zeros(200, 200).double(),
    "tall": draw(10, 300, 7),
    "wide": draw(11, 7, 300),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_bidiagonalisation_is_below_and_close(name: str) -> None:
    A = SPECTRA[name]
    found = jacobian_norm(lambda x: x @ A.T, torch.zeros(3, A.shape[1]).double())
    truth = float(torch.linalg.matrix_norm(A, ord=2))
    assert bool((found.values <= truth * (1 + 1e-12)).all())
    assert bool((found.values >= 0.999 * truth).all())
    assert found.residual is not None
    # Some singular value lies within the residual of what was found.
    values = torch.linalg.svdvals(A)
    for value, residual in zip(found.values, found.residual, strict=True):
        assert float((values - value).abs().min()) <= float(residual) + 1e-10


def test_direction_is_where_the_norm_is() -> None:
    A = SPECTRA["random"]
    found = jacobian_norm(lambda x: x @ A.T, torch.zeros(2, 200).double())
    assert found.direction is not None
    assert torch.allclose(torch.linalg.vector_norm(found.direction, dim=1), torch.ones(2).double())
    assert torch.allclose(torch.linalg.vector_norm(found.direction @ A.T, dim=1), found.values)


def test_samples_have_their_own_norms_whoever_they_stand_beside() -> None:
    W = draw(3, 6, 6)
    x = draw(4, 8, 6)

    def f(x: Tensor) -> Tensor:
        return torch.tanh(x @ W.T)

    together = jacobian_norm(f, x).values
    truth = torch.linalg.matrix_norm(
        torch.autograd.functional.jacobian(lambda z: f(z).sum(0), x).permute(1, 0, 2), ord=2
    )
    assert torch.allclose(together, truth, rtol=1e-6)
    alone = torch.cat(
        [jacobian_norm(f, x[i : i + 1], generator=torch.Generator().manual_seed(i)).values for i in range(8)]
    )
    assert torch.allclose(alone, truth, rtol=1e-6)


@pytest.mark.parametrize(
    "norm", [Sup(), Sum(), Weighted(torch.tensor([0.1, 1.0, 7.0, 2.0, 1.0, 30.0]).double(), Sup())]
)
def test_other_norms_are_those_of_the_matrix(norm: Norm) -> None:
    A = draw(5, 6, 6)
    found = jacobian_norm(lambda x: x @ A.T, torch.zeros(2, 6).double(), norm=norm)
    w = norm.weights if isinstance(norm, Weighted) else torch.ones(6).double()
    scaled = w[:, None] * A / w
    truth = float(torch.linalg.matrix_norm(scaled, ord=1 if isinstance(norm, Sum) else torch.inf))
    assert found.values.tolist() == pytest.approx([truth] * 2, rel=1e-10)


@pytest.mark.parametrize("norm", [Sup(), Sum()])
def test_ascent_in_many_coordinates_is_below_and_not_far(norm: Norm) -> None:
    A = draw(6, 600, 600)
    found = jacobian_norm(lambda x: x @ A.T, torch.zeros(1, 600).double(), norm=norm)
    truth = float(torch.linalg.matrix_norm(A, ord=1 if isinstance(norm, Sum) else torch.inf))
    assert 0.85 * truth <= float(found.values[0]) <= truth * (1 + 1e-12)
    assert "ascent" in found.bound.method


def test_dense_jacobians_by_rows_and_by_columns() -> None:
    for m, n in ((3, 5), (5, 3)):
        A = draw(7, m, n)
        x = draw(8, 4, n)
        found = dense_jacobian(lambda x, A=A: torch.sin(x @ A.T), x)
        truth = torch.cos(x @ A.T).unsqueeze(2) * A
        assert torch.allclose(found, truth)
        assert torch.allclose(
            exact_jacobian_norm(lambda x, A=A: torch.sin(x @ A.T), x).value, torch.linalg.matrix_norm(truth, ord=2)
        )


def test_scalars_and_images() -> None:
    assert jacobian_norm(torch.sin, torch.zeros(3).double()).values.tolist() == pytest.approx([1.0] * 3)
    kernel = draw(9, 4, 2, 3, 3)
    found = jacobian_norm(lambda x: torch.nn.functional.conv2d(x, kernel), torch.zeros(1, 2, 7, 7).double())
    basis = torch.eye(98).double().reshape(-1, 2, 7, 7)
    truth = torch.linalg.matrix_norm(torch.nn.functional.conv2d(basis, kernel).flatten(1), ord=2)
    assert float(found.values) == pytest.approx(float(truth), rel=1e-5)


def test_a_constant_map_has_norm_zero() -> None:
    assert jacobian_norm(torch.ones_like, torch.zeros(2, 3).double()).values.tolist() == [0.0, 0.0]


def test_parameters_and_points_keep_their_gradients_as_they_were() -> None:
    layer = torch.nn.Linear(3, 3)
    x = torch.zeros(2, 3, requires_grad=True)
    jacobian_norm(layer, x)
    assert x.grad is None
    assert all(p.grad is None for p in layer.parameters())


def test_a_derivative_that_is_not_finite_is_refused() -> None:
    x = torch.tensor([[1.0], [0.0]]).double()
    with pytest.raises(
        NonFiniteError,
        match=r"function: got a derivative that is not finite at sample 1, needed finite derivatives at x",
    ):
        jacobian_norm(torch.sqrt, x)
    with pytest.raises(NonFiniteError, match=r"function\(x\): got a NaN or an infinity at sample 1"):
        jacobian_norm(torch.log, x)
    with pytest.raises(InputError, match=r"max_iterations: got 0, needed an integer >= 1"):
        jacobian_norm(torch.sin, x, max_iterations=0)


def test_power_iteration_stopped_too_early_is_seen() -> None:
    """Planted fault: one step only. The value is still a lower bound, its residual says that it is none to rely on."""
    A = SPECTRA["flat"]
    found = jacobian_norm(lambda x: x @ A.T, torch.zeros(1, 200).double(), max_iterations=1)
    assert float(found.values[0]) < 0.9
    assert found.residual is not None
    assert float(found.residual[0]) > 0.05


def test_inference_mode_and_half_precision() -> None:
    x = draw(1, 2, 3)
    with torch.inference_mode():
        assert jacobian_norm(lambda x: 2 * x, x + 0).values.tolist() == pytest.approx([2.0, 2.0])
    half = jacobian_norm(lambda x: 2 * x, x.bfloat16())
    # No pair can judge a slope in bfloat16, so that 64 unit roundoffs, a quarter, are taken off and the assumption is named.
    assert half.values.double().tolist() == pytest.approx([1.5, 1.5], rel=0.02)
    assert any("no pair judge" in text for text in half.bound.assumptions)


def test_inference_mode_is_left_for_matrices_as_it_is_for_products() -> None:
    x = draw(40, 3, 2)
    J = torch.diag_embed(1 / torch.cosh(x) ** 2)
    with torch.inference_mode():
        inside = x + 0
        assert torch.allclose(dense_jacobian(torch.tanh, inside), J)
        assert torch.allclose(exact_jacobian_norm(torch.tanh, inside).value, J.amax(dim=(1, 2)))
        assert torch.allclose(jacobian_norm(torch.tanh, inside).values, J.amax(dim=(1, 2)), rtol=1e-3)


def test_a_linearization_says_that_inference_mode_is_what_is_in_the_way() -> None:
    with torch.inference_mode():
        here = Linearization(lambda y, _: torch.tanh(y), draw(41, 3, 2), None)
        with pytest.raises(GradientUnavailableError, match=r"leave torch.inference_mode\(\) for this call"):
            here.pull(torch.ones(3, 2).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.6, 0.8, -0.6, -0.8])
def test_slopes_whose_squares_leave_the_range(dtype: torch.dtype, share: float) -> None:
    """Once zero, or refused as not finite: the residual was computed by way of the square."""
    largest = torch.finfo(dtype).max
    size = largest**share
    turn = torch.linalg.qr(draw(50, 4, 4))[0].to(dtype)
    found = jacobian_norm(lambda x: size * (x @ turn), torch.ones(2, 4, dtype=dtype))
    assert bool((found.values <= size).all())
    assert found.values.tolist() == pytest.approx([size, size], rel=0.01)
    assert found.residual is not None
    assert bool((found.residual <= 1e-3 * size).all())


def test_steep_maps_in_half_precision() -> None:
    found = jacobian_norm(lambda x: 300 * x, torch.ones(1, 3).half())
    assert float(found.values) == pytest.approx(300.0 * (1 - 64 * 2.0**-11), rel=0.01)


def test_a_derivative_that_is_not_finite_is_still_refused() -> None:
    with pytest.raises(NonFiniteError, match=r"a derivative that is not finite at sample 0"):
        jacobian_norm(torch.sqrt, torch.zeros(1, 2).double())


def test_points_made_in_inference_mode_are_used_outside() -> None:
    with torch.inference_mode():
        x = draw(51, 3, 2)
    J = 1 / torch.cosh(x) ** 2
    assert torch.allclose(dense_jacobian(torch.tanh, x), torch.diag_embed(J))
    assert torch.allclose(exact_jacobian_norm(torch.tanh, x).value, J.amax(dim=1))
    for norm in (Euclidean(), Sup()):
        assert torch.allclose(jacobian_norm(torch.tanh, x, norm=norm).values, J.amax(dim=1), rtol=1e-3)


@pytest.mark.parametrize("inside", [True, False])
def test_weights_made_in_inference_mode_are_said_to_be_in_the_way(inside: bool) -> None:
    with torch.inference_mode():
        layer = torch.nn.Linear(2, 2).double()
    with (
        torch.inference_mode(mode=inside),
        pytest.raises(GradientUnavailableError, match=r"made in torch.inference_mode\(\), .* clone them outside of it"),
    ):
        jacobian_norm(layer, draw(52, 3, 2))


def test_bounds_keep_no_graph() -> None:
    x = draw(53, 3, 2).requires_grad_()
    assert not jacobian_norm(torch.tanh, x).values.requires_grad
    assert not exact_jacobian_norm(torch.tanh, x).value.requires_grad
    assert not dense_jacobian(torch.tanh, x).requires_grad
