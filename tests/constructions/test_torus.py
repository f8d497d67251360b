"""The truncated space of flows: transforms, exact products, and clear refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.norms import TorusSobolev
from eqtheory.roundoff import gamma

TORI = [GalerkinTorus((16, 16)), GalerkinTorus((12, 20), 0.7), GalerkinTorus((22, 10), 2.0)]
EACH = pytest.mark.parametrize("torus", TORI, ids=lambda t: f"{t.shape} {t.aspect}")


def random(torus: GalerkinTorus, count: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, torus.dimension, generator=g, dtype=torch.float64)


def flow(torus: GalerkinTorus, c: Tensor) -> Tensor:
    return torus.synthesis(torus.velocity(torus.complex_of(c)))


@EACH
def test_coordinates_are_an_isometry(torus: GalerkinTorus) -> None:
    c = random(torus, 5, 0)
    field = torus.field(c)
    assert torch.allclose(torus.coordinates(field), c, rtol=0, atol=gamma(1000, c.dtype) * float(c.norm()))
    for order, size in ((0.0, c), (-2.0, c / torus.squared), (1.0, c * torus.squared.sqrt())):
        wanted = torch.linalg.vector_norm(size, dim=1)
        assert torch.allclose(TorusSobolev(order, torus.aspect)(field), wanted, rtol=1e-13, atol=0)
    rms = field.square().mean(dim=(1, 2)).sqrt()
    assert torch.allclose(rms, torch.linalg.vector_norm(c, dim=1), rtol=1e-13, atol=0)


@EACH
def test_the_velocity_has_the_vorticity_and_no_divergence(torus: GalerkinTorus) -> None:
    z = torus.complex_of(random(torus, 3, 1))
    kx, ky = torus.aspect * torus.modes[:, 0].double(), torus.modes[:, 1].double()
    u = torus.velocity(z)
    assert torch.allclose(1j * kx * u[:, 1] - 1j * ky * u[:, 0], z, rtol=0, atol=1e-14 * float(z.abs().max()))
    assert float((kx * u[:, 0] + ky * u[:, 1]).abs().max()) < 1e-14 * float(z.abs().max())


@EACH
def test_products_are_convolutions(torus: GalerkinTorus) -> None:
    """A grid of twice the points gives the same advection: nothing is folded back."""
    fine = GalerkinTorus((2 * torus.shape[0], 2 * torus.shape[1]), torus.aspect)
    places = {tuple(k): i for i, k in enumerate(fine.modes.tolist())}
    half = torch.tensor([places[tuple(k)] for k in torus.modes.tolist()])
    a, b = (torus.complex_of(random(torus, 3, seed)) for seed in (2, 3))
    larger = [torch.zeros(3, fine.dimension // 2, dtype=torch.complex128).index_copy(1, half, z) for z in (a, b)]
    u, v = (torus.synthesis(torus.velocity(z)) for z in (a, b))
    x, y = (fine.synthesis(fine.velocity(z)) for z in larger)
    here, there = torus.advection(u, v), fine.advection(x, y)[:, half]
    assert float((here - there).abs().max()) < 1e-13 * float(here.abs().max())


@EACH
def test_advection_of_itself_is_the_special_case(torus: GalerkinTorus) -> None:
    z = torus.complex_of(random(torus, 3, 4))
    u = torus.synthesis(torus.velocity(z))
    whole = torus.advection(u, u)
    assert float((whole - torus.self_advection(z)).abs().max()) < 1e-13 * float(whole.abs().max())


@pytest.mark.parametrize("torus", [*TORI, GalerkinTorus((64, 64)), GalerkinTorus((32, 48))], ids=str)
def test_a_sample_does_not_depend_on_its_batch(torus: GalerkinTorus) -> None:
    """On some grids the transform of one field alone takes another path, with other roundings."""
    z = torus.complex_of(random(torus, 7, 5))
    field = torus.synthesis(z)
    for few in (1, 2, 3, 6):
        assert torch.equal(torus.synthesis(z[:few]), field[:few])
        assert torch.equal(torus.analysis(field[:few]), torus.analysis(field)[:few])
        assert torch.equal(torus.self_advection(z[3 : 3 + few]), torus.self_advection(z)[3 : 3 + few])
    noise = torch.randn(64, *torus.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norm, together = TorusSobolev(-1.0, torus.aspect), torus.analysis(noise)
    for row in range(0, 64, 7):
        alone = noise[row : row + 1]
        assert torch.equal(torus.analysis(alone)[0], together[row])
        assert torch.equal(norm(alone)[0], norm(noise)[row])


@pytest.mark.parametrize("shape", [(15, 16), (16, 15), (2, 16), (16, 0)])
def test_odd_and_tiny_grids_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(
        InputError, match=r"shape: got .*, needed an even number of points, at least 4, in each direction"
    ):
        GalerkinTorus(shape)


def test_an_aspect_has_to_be_positive() -> None:
    with pytest.raises(InputError, match=r"aspect: got -1\.0, needed a finite number > 0"):
        GalerkinTorus((8, 8), -1.0)


def test_unusable_forces_are_refused_with_a_reason() -> None:
    torus = TORI[0]
    g = torus.field(random(torus, 2, 6))
    assert torus.forces("curl", g) is g
    with pytest.raises(NonFiniteError, match=r"curl: got nan at index \(1, 0, 0\), needed finite numbers"):
        torus.forces("curl", torch.stack([g[0], torch.full_like(g[1], torch.nan)]))
    with pytest.raises(InputError, match=r"curl: got mean 0\.1 at sample 1, needed forces with mean zero; subtract"):
        torus.forces("curl", torch.stack([g[0], g[1] + 0.1]))
    with pytest.raises(ShapeError, match=r"curl: got a grid of 15 x 16 points, needed an even number of points"):
        torus.forces("curl", g[:, :15])
    with pytest.raises(ShapeError, match=r"curl: got shape \(2, 14, 16\)"):
        torus.forces("curl", g[:, :14])
    with pytest.raises(InputError, match=r"curl: got dtype torch\.float32, needed torch\.float64"):
        torus.forces("curl", g.float())
    with pytest.raises(InputError, match=r"curl: got list"):
        torus.forces("curl", [[0.0]])  # type: ignore[arg-type]


def test_norms_refuse_other_shapes_and_types() -> None:
    with pytest.raises(ShapeError, match=r"v: got shape \(4, 4\), needed \(batch, x, y\)"):
        TorusSobolev()(torch.zeros(4, 4))
    with pytest.raises(InputError, match=r"v: got dtype torch\.int64"):
        TorusSobolev()(torch.zeros(1, 4, 4, dtype=torch.int64))
    with pytest.raises(InputError, match=r"aspect: got 0\.0"):
        TorusSobolev(0.0, 0.0)


def test_a_norm_counts_the_mean_and_the_last_wave() -> None:
    ones = torch.ones(1, 4, 6, dtype=torch.float64)
    assert float(TorusSobolev(-2.0)(ones)) == 1.0
    alternating = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(3).expand(1, 4, 6)
    assert float(TorusSobolev(1.0)(alternating)) == pytest.approx(3.0, rel=1e-15)
    assert float(TorusSobolev(0.0)(ones)) == float(TorusSobolev(0.0)(torch.cat([ones, ones]))[1])
