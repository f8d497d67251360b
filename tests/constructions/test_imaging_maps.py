"""Blurs and matrices as forward maps: against other programs, adjoint to themselves, inverted, bounded, and refused where unusable."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from eqtheory.bounds import Evidence, Side
from eqtheory.constructions import CircularBlur, DenseMap
from eqtheory.errors import GradientUnavailableError, InputError, NonFiniteError, ShapeError
from eqtheory.norms import Euclidean
from eqtheory.roundoff import gamma

SIZES = [(8, 9), (7, 6), (8, 8), (5, 5), (3, 4)]
KERNELS = [(3, 3), (1, 4), (3, 2), (2, 4), (1, 1)]
norm = Euclidean()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kernel_of(shape: tuple[int, int], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    taps = torch.rand(shape, generator=seeded(seed), dtype=dtype)
    return taps / taps.sum()


def images(size: tuple[int, int], seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, 3, *size, generator=seeded(seed), dtype=dtype)


def circulant(blur: CircularBlur) -> Tensor:
    """The matrix of a blur, entry by entry from the definition of circular convolution."""
    h, w = blur.size
    kh, kw = blur.kernel.shape
    M = torch.zeros(h, w, h, w, dtype=torch.float64)
    for i in range(h):
        for j in range(w):
            for a in range(kh):
                for b in range(kw):
                    M[i, j, (i - (a - kh // 2)) % h, (j - (b - kw // 2)) % w] += blur.kernel[a, b]
    return M.reshape(h * w, h * w)


def slack_of(size: tuple[int, int], v: Tensor) -> float:
    """Two transforms err no more than the sums of `h w` terms that they stand for: twice `sqrt(n) gamma_{2n}` of the image."""
    n = size[0] * size[1]
    return 4 * math.sqrt(n) * gamma(2 * n + 16, v.dtype) * float(norm(v).amax())


EACH = pytest.mark.parametrize("size", SIZES)
SHAPED = pytest.mark.parametrize("shape", KERNELS)


@EACH
@SHAPED
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_blur_is_the_convolution_of_scipy(size: tuple[int, int], shape: tuple[int, int], dtype: torch.dtype) -> None:
    kernel = kernel_of(shape, dtype=dtype)
    blur, y = CircularBlur(kernel, size), images(size, dtype=dtype)
    found = blur(y)
    assert (found.dtype, found.shape) == (dtype, y.shape)
    for sample, image in zip(y.double(), found.double(), strict=True):
        for plane, blurred in zip(sample, image, strict=True):
            wanted = torch.from_numpy(ndimage.convolve(plane.numpy(), kernel.double().numpy(), mode="wrap"))
            assert float((blurred - wanted).abs().max()) <= slack_of(size, y)


def test_the_kernel_lies_on_the_spot_and_is_not_mirrored() -> None:
    kernel = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, 0.25], [0.25, 0.0, 0.0]], dtype=torch.float64)
    spot = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    spot[0, 0, 2, 2] = 1
    assert torch.allclose(CircularBlur(kernel, (5, 5))(spot)[0, 0, 1:4, 1:4], kernel, atol=1e-15)
    assert torch.allclose(CircularBlur(kernel, (5, 5)).adjoint(spot)[0, 0, 1:4, 1:4], kernel.flip(0, 1), atol=1e-15)


@EACH
@SHAPED
def test_a_blur_and_its_matrix_agree(size: tuple[int, int], shape: tuple[int, int]) -> None:
    blur = CircularBlur(kernel_of(shape), size)
    M, y = circulant(blur), images(size)
    flat, slack = y.reshape(6, -1), slack_of(size, y)
    for of, matrix in ((blur(y), M), (blur.adjoint(y), M.mT), (blur.normal(y), M.mT @ M)):
        assert float((of.reshape(6, -1) - flat @ matrix.mT).abs().max()) <= 2 * slack
    sigma = torch.linalg.svdvals(M)
    n = size[0] * size[1]
    # A computed singular value errs by p(n) u |A|, with a modest p that is taken as 4 n here.
    off = 4 * n * 2.0**-53
    assert float(sigma[0]) - off <= blur.norm.value <= float(sigma[0]) + 1e-12
    assert float(sigma[-1]) - 1e-12 <= blur.smallest.value <= float(sigma[-1]) + off
    assert (blur.norm.side, blur.smallest.side) == (Side.UPPER, Side.LOWER)
    assert blur.norm.evidence is blur.smallest.evidence is Evidence.PROVED
    for beta in (1e-2, 1.0, 50.0):
        solution = blur.solve(y, beta)
        back = blur.normal(solution) + beta * solution
        assert float((back - y).abs().max()) <= 4 * slack * (1 + beta) / beta
        wanted = torch.linalg.solve(M.mT @ M + beta * torch.eye(n, dtype=torch.float64), flat.mT).mT.reshape(y.shape)
        assert float((solution - wanted).abs().max()) <= 4 * slack * (1 + beta) / beta**2


def test_a_correlation_would_not_be_adjoint() -> None:
    blur = CircularBlur(kernel_of((3, 3)), (8, 8))
    y, x = images((8, 8), 2), images((8, 8), 3)
    honest = (blur(y) * x).sum() - (y * blur.adjoint(x)).sum()
    planted = (blur(y) * x).sum() - (y * blur(x)).sum()
    room = slack_of((8, 8), y) * float(norm(x).sum())
    assert abs(float(honest)) <= room
    assert abs(float(planted)) > 1e6 * room


def test_the_transfer_is_accurate_and_bounds_hold_against_fifty_digits() -> None:
    blur = CircularBlur(kernel_of((3, 4), seed=5), (6, 7))
    with mpmath.workdps(50):
        for row in range(6):
            for column in range(4):
                total = mpmath.mpc(0)
                for a in range(3):
                    for b in range(4):
                        turn = mpmath.mpf(row * (a - 1)) / 6 + mpmath.mpf(column * (b - 2)) / 7
                        total += mpmath.mpf(float(blur.kernel[a, b])) * mpmath.expjpi(-2 * turn)
                found = complex(blur.transfer[row, column])
                assert abs(mpmath.mpc(found.real, found.imag) - total) <= gamma(4 * 7 + 64, torch.float64)
                assert blur.smallest.value <= abs(total) <= blur.norm.value


def test_a_blur_that_wipes_a_wave_out_has_smallest_zero() -> None:
    box = CircularBlur(torch.full((1, 2), 0.5, dtype=torch.float64), (1, 8))
    assert box.smallest.value == 0.0
    assert box.norm.value == pytest.approx(1.0, abs=1e-12)


# Singular vectors.

QUANTILES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


@EACH
def test_waves_are_singular_vectors(size: tuple[int, int]) -> None:
    blur = CircularBlur(kernel_of((3, 2), seed=4), size)
    found = blur.singular_vectors(QUANTILES)
    assert found.vectors.shape == (len(QUANTILES), 1, *size)
    assert torch.allclose(norm(found.vectors), torch.ones(len(QUANTILES), dtype=torch.float64), rtol=1e-14)
    # A cosine of a rounded angle is off by 2 pi gamma_3 + u per entry.
    slack = slack_of(size, found.vectors) + 32 * 2.0**-53 * math.sqrt(size[0] * size[1])
    scaled = found.values.reshape(-1, 1, 1, 1) ** 2 * found.vectors
    assert float((blur.normal(found.vectors) - scaled).abs().max()) <= slack
    assert float((norm(blur(found.vectors)) - found.values).abs().max()) <= slack
    # Planted: half of each wave's neighbours in the order of frequencies would not do.
    wrong = found.vectors + found.vectors.roll(1, 0)
    assert float((blur.normal(wrong) - scaled).abs().max()) > 1e3 * slack


@EACH
def test_quantiles_are_ordered_by_frequency_and_every_pair_counts_once(size: tuple[int, int]) -> None:
    blur = CircularBlur(kernel_of((3, 2), seed=4), size)
    h, w = size
    pairs = {frozenset({(a, b), (-a % h, -b % w)}) for a in range(h) for b in range(w)}
    every = blur.singular_vectors([k / (len(pairs) - 1) + 1e-9 for k in range(len(pairs) - 1)] + [1.0])
    length = norm(every.frequencies)
    assert bool((length.diff() >= -1e-15).all())
    assert float(length[0]) == 0.0
    at = [(round(float(a) * h) % h, round(float(b) * w) % w) for a, b in every.frequencies]
    assert {frozenset({(a, b), (-a % h, -b % w)}) for a, b in at} == pairs
    assert len(at) == len(pairs)
    # Counted with their multiplicity they are all singular values of the matrix.
    values = sorted(
        float(v) for v, (a, b) in zip(every.values, at, strict=True) for _ in range(len({(a, b), (-a % h, -b % w)}))
    )
    assert values == pytest.approx(sorted(torch.linalg.svdvals(circulant(blur)).tolist()), abs=1e-12)


@pytest.mark.parametrize("quantiles", [(), (-0.1,), (0.5, 1.5), (math.nan,)])
def test_quantiles_outside_are_refused(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"quantiles: got .*, needed numbers in \[0, 1\]; pass for example"):
        CircularBlur(kernel_of((3, 3)), (5, 5)).singular_vectors(quantiles)


# Errors of blurs.

BAD_KERNELS: list[tuple[Any, dict[str, bool], type[Exception], str]] = [
    (torch.ones(3, 3), {}, InputError, "kernel: got sum 9, needed sum 1; pass normalize=True, or any_sum=True"),
    (kernel_of((3, 3)) * 1.001, {}, InputError, "kernel: got sum 1.001, needed sum 1"),
    (kernel_of((3, 3), dtype=torch.float32).double(), {}, InputError, "kernel: got sum 1"),
    (torch.tensor([[math.nan]]), {}, NonFiniteError, "kernel: got a NaN or an infinity at index (0, 0)"),
    (torch.tensor([[math.inf]]), {}, NonFiniteError, "kernel: got a NaN or an infinity"),
    (kernel_of((6, 3)), {}, ShapeError, "kernel: got shape (6, 3), needed (kh, kw), at least (1, 1) and at most the"),
    (torch.ones(3) / 3, {}, ShapeError, "kernel: got shape (3,)"),
    (torch.ones(0, 3), {}, ShapeError, "kernel: got shape (0, 3)"),
    (torch.ones(1, 1, dtype=torch.int64), {}, InputError, "kernel: got dtype torch.int64, needed a tensor of float32"),
    ([[1.0]], {}, InputError, "kernel: got list, needed a tensor of float32 or float64"),
    (torch.tensor([[1.0, -1.0]]), {"normalize": True}, InputError, "kernel: got sum 0, needed a sum that is not zero"),
    (
        torch.ones(1, 1),
        {"normalize": True, "any_sum": True},
        InputError,
        "normalize, any_sum: got both, needed at most",
    ),
    (torch.ones(1, 1).requires_grad_(), {}, GradientUnavailableError, "kernel requires a gradient"),
]


@pytest.mark.parametrize(("kernel", "options", "kind", "message"), BAD_KERNELS)
def test_unusable_kernels_are_refused(
    kernel: Any, options: dict[str, bool], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        CircularBlur(kernel, (5, 5), **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (27, 27)])
def test_kernels_divided_by_their_sum_pass_in_every_type(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    for seed in range(20):
        taps = torch.rand(shape, generator=seeded(seed), dtype=torch.float64).to(dtype)
        CircularBlur(taps / taps.sum(), (32, 32))


def test_normalized_and_other_sums() -> None:
    assert float(CircularBlur(torch.ones(2, 2), (4, 4), normalize=True).kernel.sum()) == 1.0
    bright = CircularBlur(torch.ones(2, 2, dtype=torch.float64), (4, 4), any_sum=True)
    assert bright.norm.value == pytest.approx(4.0, abs=1e-12)
    edges = CircularBlur(torch.tensor([[1.0, -1.0]], dtype=torch.float64), (4, 4), any_sum=True)
    assert (edges.smallest.value, edges.norm.value) == (0.0, pytest.approx(2.0, abs=1e-12))


@pytest.mark.parametrize("size", [(0, 4), (4,), (4.0, 4), "44", (4, 4, 4), None])
def test_unusable_sizes_are_refused(size: Any) -> None:
    with pytest.raises(
        InputError, match=r"size: got .*, needed the images' \(h, w\); pass for example size=\(128, 128"
    ):
        CircularBlur(torch.ones(1, 1), size)


@pytest.mark.parametrize(
    ("image", "kind", "message"),
    [
        (torch.zeros(2, 3, 5, 6), ShapeError, "got shape (2, 3, 5, 6), needed (batch, *, 5, 5); build the blur for"),
        (torch.zeros(3, 5, 5), ShapeError, "got shape (3, 5, 5), needed (batch, *, 5, 5)"),
        (torch.zeros(1, 1, 1, 5, 5), ShapeError, "got shape (1, 1, 1, 5, 5), needed (batch, *, 5, 5)"),
        (
            torch.zeros(1, 1, 5, 5, dtype=torch.bfloat16),
            InputError,
            "got dtype torch.bfloat16, needed float32 or float64",
        ),
        (torch.zeros(1, 1, 5, 5, dtype=torch.int64), InputError, "got dtype torch.int64, needed float32 or float64"),
        ([[1.0]], InputError, "got list, needed a torch.Tensor"),
    ],
)
def test_other_images_are_refused(image: Any, kind: type[Exception], message: str) -> None:
    blur = CircularBlur(kernel_of((3, 3)), (5, 5))
    for name, ask in (("y", blur), ("x", blur.adjoint), ("y", blur.normal), ("v", lambda v: blur.solve(v, 1.0))):
        with pytest.raises(kind) as caught:
            ask(image)
        assert str(caught.value).startswith(f"{name}: {message}")


# Matrices.


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 3), (5, 3), (3, 5), (20, 20)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_matrix_is_applied_transposed_and_inverted(m: int, n: int, dtype: torch.dtype) -> None:
    M = torch.randn(m, n, generator=seeded(m + n), dtype=dtype)
    A = DenseMap(M)
    y, x = (torch.randn(4, k, generator=seeded(k), dtype=dtype) for k in (n, m))
    unit = 8 * gamma(m + n + 8, dtype) * float(norm(M.reshape(1, -1)) ** 2 + 1) * float(norm(y).amax() + norm(x).amax())
    assert float((A(y) - y @ M.mT).abs().max()) <= unit
    assert abs(float((A(y) * x).sum() - (y * A.adjoint(x)).sum())) <= unit * float(norm(x).sum())
    beta = 0.5
    wanted = torch.linalg.solve(M.double().mT @ M.double() + beta * torch.eye(n), y.double().mT).mT
    worse = (float(A.norm.value) ** 2 + beta) / beta**2
    assert float((A.solve(y, beta).double() - wanted).abs().max()) <= 16 * n * unit * worse


@pytest.mark.parametrize(("m", "n"), [(1, 1), (4, 4), (7, 4), (20, 20)])
@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-8, 1e-12])
@pytest.mark.parametrize("scale", [1e-120, 1.0, 1e120])
def test_bounds_of_singular_values_enclose_them(m: int, n: int, smallest: float, scale: float) -> None:
    left = torch.linalg.qr(torch.randn(m, m, generator=seeded(1), dtype=torch.float64)).Q[:, :n]
    right = torch.linalg.qr(torch.randn(n, n, generator=seeded(2), dtype=torch.float64)).Q
    sigma = torch.logspace(0, math.log10(smallest), n, dtype=torch.float64) if n > 1 else torch.ones(1).double()
    A = DenseMap(scale * (left * sigma) @ right)
    # The matrix itself has singular values that differ from sigma by n u at most.
    off = 8 * n * 2.0**-53
    assert A.norm.value >= scale * (1 - off)
    assert A.norm.value <= scale * (1 + 1e-10)
    assert A.smallest.value <= scale * (float(sigma[-1]) + off)
    if smallest >= 1e-8:
        assert A.smallest.value >= scale * float(sigma[-1]) * (1 - 1e-5)  # n^2 u over 1e-8 is a few 1e-6


@pytest.mark.parametrize("matrix", [torch.ones(2, 3), torch.zeros(2, 2), torch.ones(2, 2), torch.ones(3, 2)])
def test_null_spaces_have_smallest_zero(matrix: Tensor) -> None:
    assert DenseMap(matrix).smallest.value == 0.0


@pytest.mark.parametrize(
    ("matrix", "kind", "message"),
    [
        (torch.ones(3), ShapeError, "matrix: got shape (3,), needed (m, n); pass one matrix that is not empty"),
        (torch.ones(0, 3), ShapeError, "matrix: got shape (0, 3), needed (m, n)"),
        (torch.tensor([[math.nan]]), NonFiniteError, "matrix: got a NaN or an infinity at index (0, 0)"),
        (
            torch.ones(2, 2, dtype=torch.int64),
            InputError,
            "matrix: got dtype torch.int64, needed a tensor of float32 or",
        ),
        ([[1.0]], InputError, "matrix: got list, needed a tensor of float32 or float64"),
        (
            torch.ones(1, 1, requires_grad=True),
            GradientUnavailableError,
            "matrix requires a gradient, but it is decomposed",
        ),
    ],
)
def test_unusable_matrices_are_refused(matrix: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        DenseMap(matrix)
    assert str(caught.value).startswith(message)


def test_states_and_observations_are_told_apart() -> None:
    A = DenseMap(torch.ones(2, 3))
    with pytest.raises(
        ShapeError, match=r"y: got shape \(4, 2\), needed \(batch, 3\); states have one entry per column"
    ):
        A(torch.ones(4, 2))
    with pytest.raises(
        ShapeError, match=r"x: got shape \(4, 3\), needed \(batch, 2\); observations have one entry per"
    ):
        A.adjoint(torch.ones(4, 3))


@pytest.mark.parametrize("A", [DenseMap(torch.eye(4)), CircularBlur(torch.ones(1, 1), (2, 2))], ids=["matrix", "blur"])
@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, "1", torch.ones(1), True])
def test_unusable_couplings_are_refused(A: DenseMap | CircularBlur, beta: Any) -> None:
    v = torch.ones(1, 4) if isinstance(A, DenseMap) else torch.ones(1, 1, 2, 2)
    with pytest.raises(
        InputError, match=r"beta: got .*, needed (a finite number > 0|a number or a tensor without axes)"
    ):
        A.solve(v, beta)


@pytest.mark.parametrize(
    "A", [DenseMap(torch.eye(4) + 1), CircularBlur(kernel_of((2, 2)), (3, 4))], ids=["matrix", "blur"]
)
def test_everything_is_differentiable(A: DenseMap | CircularBlur) -> None:
    shape = (2, 4) if isinstance(A, DenseMap) else (2, 1, 3, 4)
    v = torch.randn(shape, generator=seeded(9), dtype=torch.float64, requires_grad=True)
    beta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for function, at in ((A, (v,)), (A.adjoint, (v,)), (A.normal, (v,)), (A.solve, (v, beta))):
        assert torch.autograd.gradcheck(function, at, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(function, at)
