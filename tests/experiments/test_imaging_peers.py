"""Classical peers of the deblurring experiment: each is what its name says, with the blur the right way round."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from eqtheory.constructions import CircularBlur
from experiments.common.checkpoints import random_generator
from experiments.imaging.classical import peers, plug_and_play
from experiments.imaging.denoising import new_denoiser
from experiments.imaging.models import observe
from experiments.imaging.photographs import bundled, shaken_kernel
from experiments.imaging.quality import psnr

SIDE = 64


@pytest.mark.parametrize("index", range(4))
def test_classical_peers_improve_on_the_observation(index: int) -> None:
    clean = bundled("test").crops(96, 0)
    blur = CircularBlur(shaken_kernel(9, random_generator(8)), (96, 96))
    x = observe(clean, blur, 0.01, random_generator(9))
    denoiser = new_denoiser("small", 0).requires_grad_(requires_grad=False)
    peer = peers(denoiser)[index]
    if peer.name == "plug-and-play":  # with a prior step that does nothing it is the regularised inverse, iterated
        method = plug_and_play(lambda image, _: image, beta=0.03, level=0.0, steps=2)
    else:
        method = peer.make(**peer.grid[len(peer.grid) // 3])
    assert float(psnr(method(x, blur), clean).mean()) > float(psnr(x, clean).mean()) + 1


def observed() -> tuple[Tensor, CircularBlur]:
    clean = bundled("test").crops(SIDE, 0, 2).double()
    blur = CircularBlur(shaken_kernel(9, random_generator(8)).double(), (SIDE, SIDE))
    return observe(clean, blur, 0.01, random_generator(9)), blur


def method(name: str, **choice: float) -> Callable[[Tensor, CircularBlur], Tensor]:
    denoiser = new_denoiser("small", 0)
    return next(peer for peer in peers(denoiser) if peer.name == name).make(**choice)


def wiener_in_fourier_space(x: Tensor, blur: CircularBlur, balance: float) -> Tensor:
    """`(A^T A + balance L^T L)^-1 A^T x` with the five-point Laplacian `L`, by the discrete Fourier transform."""
    impulse = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
    impulse[0, 0, 0, 0] = 1
    transfer = torch.fft.fft2(blur(impulse))
    wave = 2 * torch.pi * torch.fft.fftfreq(SIDE, dtype=torch.float64)
    laplacian = 4 - 2 * wave.cos()[:, None] - 2 * wave.cos()
    return torch.fft.ifft2(torch.fft.fft2(x) * transfer.conj() / (transfer.abs() ** 2 + balance * laplacian**2)).real


def two_steps_of_richardson_lucy(x: Tensor, blur: CircularBlur) -> Tensor:
    z = torch.full_like(x, 0.5)
    for _ in range(2):
        z = z * blur.adjoint(x.clip(1e-4) / blur(z))
    return z


def flipped(blur: CircularBlur) -> CircularBlur:
    return CircularBlur(blur.kernel.flip(0, 1), blur.size)


def test_wiener_is_the_closed_form_and_would_see_a_flipped_kernel() -> None:
    x, blur = observed()
    found = method("Wiener", balance=0.1)(x, blur)
    assert torch.allclose(found, wiener_in_fourier_space(x, blur, 0.1), rtol=0, atol=1e-13)
    assert (method("Wiener", balance=0.1)(x, flipped(blur)) - found).abs().max() > 1e-3


def test_richardson_lucy_is_the_periodic_iteration_and_would_see_a_flipped_kernel() -> None:
    x, blur = observed()
    found = method("Richardson-Lucy", steps=2)(x, blur)
    assert torch.allclose(found, two_steps_of_richardson_lucy(x, blur), rtol=0, atol=1e-11)
    assert (method("Richardson-Lucy", steps=2)(x, flipped(blur)) - found).abs().max() > 1e-3


def test_total_variation_keeps_constant_images_and_lowers_the_variation_of_others() -> None:
    x, blur = observed()
    restore = method("total variation", weight=0.02, beta=0.2)
    flat = torch.full_like(x, 0.3)
    assert torch.allclose(restore(flat, blur), flat, atol=1e-6)

    def variation(image: Tensor) -> float:
        return float(torch.stack([(image - image.roll(1, axis)).abs().sum() for axis in (-1, -2)]).sum())

    strong = method("total variation", weight=0.1, beta=0.2)(x, blur)
    assert variation(strong) < variation(restore(x, blur))


def test_plug_and_play_with_a_linear_prior_solves_its_equation() -> None:
    """With the prior step `v -> s v` the fixed point is `(A^T A + beta (1 - s) I)^-1 s A^T x`."""
    x, blur = observed()
    slope, beta = 0.7, 0.2
    found = plug_and_play(lambda image, _: slope * image, beta=beta, level=0.0, steps=200)(x, blur)
    assert torch.allclose(found, slope * blur.solve(blur.adjoint(x), beta * (1 - slope)), atol=1e-10)
