"""Fourier neural operators: shifts, grids, parameters, fixed points and their gradients; and a block without injection."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.gradients import Implicit, Phantom
from eqtheory.learned import ExplicitFourierOperator, FourierBlock, FourierSize, HiddenField, ImplicitFourierOperator
from eqtheory.solvers import Anderson, Stop

SIZE = FourierSize(width=3, modes=2, layers=2, largest_norm=0.6)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def implicit(seed: int = 0, relaxation: float = 1.0) -> ImplicitFourierOperator:
    return ImplicitFourierOperator(SIZE, relaxation=relaxation, generator=seeded(seed)).double()


@pytest.mark.parametrize("explicit", [True, False])
def test_operators_commute_with_shifts(*, explicit: bool) -> None:
    model = ExplicitFourierOperator(SIZE, 2, generator=seeded(0)).double() if explicit else implicit()
    x = draw(1, 2, 1, 8, 10)
    with torch.no_grad():
        assert torch.allclose(model(x.roll((3, 1), (2, 3))), model(x).roll((3, 1), (2, 3)), rtol=0, atol=1e-10)
        other = model(x.flip(2))
    assert not torch.allclose(other, model(x).flip(2), rtol=0, atol=1e-3)  # what is no symmetry is not one


def test_smooth_inputs_give_the_same_result_on_finer_grids() -> None:
    model, found = implicit(), []
    for n in (16, 32, 64):
        t = 2 * torch.pi * torch.arange(n, dtype=torch.float64) / n
        x = (0.3 * torch.sin(t)[:, None] + 0.2 * torch.cos(2 * t)[None, :]).expand(1, 1, n, n)
        with torch.no_grad():
            found.append(model(x)[..., :: n // 16, :: n // 16])
    assert (
        float((found[1] - found[2]).abs().max()) < 1e-9
    )  # what is left are waves that the nonlinearity makes beyond the grid
    assert float((found[0] - found[2]).abs().max()) < 1e-4


def test_one_block_has_the_parameters_of_the_implicit_operator_whatever_its_depth() -> None:
    count = [sum(p.numel() for p in m.parameters()) for m in (implicit(), ExplicitFourierOperator(SIZE, 1))]
    assert count[0] == count[1]
    block = sum(p.numel() for p in FourierBlock(SIZE).parameters())
    assert sum(p.numel() for p in ExplicitFourierOperator(SIZE, 4).parameters()) == count[0] + 3 * block


def test_with_small_layers_the_fixed_point_is_one_from_everywhere() -> None:
    model, x = implicit(), draw(2, 3, 1, 8, 8)
    operator, found = model.operator(), []
    with torch.no_grad():
        for z in (torch.zeros(3, 3, 8, 8).double(), 10 * draw(3, 3, 3, 8, 8)):
            y = z
            for _ in range(200):
                y = operator(y, x)
            found.append(y)
        solution = model.solve(x, stop=Stop(rtol=1e-12))
    assert torch.allclose(found[0], found[1], rtol=0, atol=1e-10)
    assert torch.allclose(solution.value, found[0], rtol=0, atol=1e-9)


def test_relaxation_keeps_the_fixed_point_and_every_solver_finds_it() -> None:
    x = draw(4, 2, 1, 8, 8)
    with torch.no_grad():
        one = implicit().solve(x, stop=Stop(rtol=1e-12)).value
        other = implicit(relaxation=0.5).solve(x, stop=Stop(rtol=1e-12)).value
        third = implicit().solve(x, stop=Stop(rtol=1e-12), solver=Anderson()).value
    assert torch.allclose(one, other, rtol=0, atol=1e-9)
    assert torch.allclose(one, third, rtol=0, atol=1e-9)


def test_an_encoded_input_is_the_input() -> None:
    model, x, z = implicit(relaxation=0.7), draw(5, 2, 1, 8, 8), draw(6, 2, 3, 8, 8)
    operator = model.operator()
    assert torch.equal(operator(z, x), operator(z, operator.encode(x)))
    assert torch.equal(operator.initial_state(x), operator.initial_state(operator.encode(x)))
    direct = 0.3 * z + 0.7 * model.block(z, model.encoder(x))
    assert torch.allclose(operator(z, x), direct, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradient", [Implicit(stop=Stop(rtol=1e-12)), Phantom(steps=80, relaxation=1.0)])
def test_gradients_are_those_of_a_long_unrolled_run(gradient: Implicit | Phantom) -> None:
    model, x = implicit(), draw(7, 2, 1, 8, 8)

    def slopes(value: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(model.decoder(value).square().sum(), list(model.parameters())))

    found = slopes(model.solve(x, stop=Stop(rtol=1e-13), gradient=gradient).value)
    operator = model.operator()
    z = operator.initial_state(x)
    for _ in range(120):
        z = operator(z, x)
    for name, one, other in zip(dict(model.named_parameters()), found, slopes(z), strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-8 * float(other.abs().max())), name


def test_a_block_that_forgets_its_input_is_caught() -> None:
    """Without injection a contraction has one fixed point for all inputs, and the gradient in the encoder is zero."""
    model, x = implicit(), draw(8, 2, 1, 8, 8)

    def spread(at: ImplicitFourierOperator) -> float:
        with torch.no_grad():
            value = at.solve(x, stop=Stop(rtol=1e-12)).value
        return float((value[0] - value[1]).abs().max())

    assert spread(model) > 1e-2
    with torch.no_grad():
        for injection in model.block.injections:
            for weight in injection.parameters():
                weight.zero_()
    assert spread(model) < 1e-9


def test_each_injection_matters() -> None:
    x = draw(9, 2, 1, 8, 8)
    with torch.no_grad():
        whole = implicit()(x)
        for place in range(2):
            model = implicit()
            for weight in model.block.injections[place].parameters():
                weight.zero_()
            assert float((model(x) - whole).abs().max()) > 1e-3


def test_errors_help() -> None:
    model = implicit()
    with pytest.raises(
        ShapeError, match=r"x: got shape \(8, 8\), needed \(batch, 1, x, y\), batch > 0, with at least 5 points"
    ):
        model(torch.zeros(8, 8).double())
    with pytest.raises(ShapeError, match="refine the grid or keep fewer modes"):
        model(torch.zeros(1, 1, 4, 4).double())
    with pytest.raises(NonFiniteError, match="x: "):
        model(torch.full((1, 1, 8, 8), torch.nan).double())
    with pytest.raises(InputError, match="blocks: got 0"):
        ExplicitFourierOperator(SIZE, 0)
    with pytest.raises(InputError, match="layers: got 0"):
        FourierBlock(FourierSize(2, 2, layers=0))
    with pytest.raises(InputError, match="relaxation: got 0"):
        ImplicitFourierOperator(SIZE, relaxation=0.0)
    assert isinstance(model.operator(), HiddenField)


# Arguments that cannot be.


@pytest.mark.parametrize("kind", [ExplicitFourierOperator, ImplicitFourierOperator])
def test_inputs_without_samples_or_of_another_dtype_are_refused(kind: Any) -> None:
    operator = kind(FourierSize(4, 2), generator=torch.Generator().manual_seed(0))
    with pytest.raises(ShapeError, match="batch > 0"):
        operator(torch.zeros(0, 1, 16, 16))
    for dtype in (torch.float64, torch.int64, torch.float16, torch.complex64):
        with pytest.raises(InputError, match=f"x: got {dtype}, needed torch.float32, as the weights"):
            operator(torch.zeros(1, 1, 16, 16, dtype=dtype))


@pytest.mark.parametrize("name", ["width", "modes", "layers", "into", "out"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: got 0"):
        FourierSize(**{"width": 4, "modes": 3, name: 0})
