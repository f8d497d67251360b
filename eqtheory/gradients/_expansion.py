r"""Was an eigenvalue of modulus one or more seen? What a linear solve says about its own matrix, at next to no price.

A solve of `w = v + A w` evaluates `p_k = A w_k`, so differences `d_k = w_{k+1} - w_k` come with their images `A d_k = p_{k+1} - p_k`:
a subspace on which `A` is known. Two quantities are formed for every sample, by a few products of small matrices:

- the geometric mean of `|A d_k| / |d_k|`;
- with an orthonormal basis of the `d_k` and the compression `T` of `A` to it, `|T^64|^(1/64)`, which no Ritz value exceeds in modulus.

A sample is **suspected** where the first reaches one or the second 0.97: Ritz values of a few directions come short. Suspected samples are
looked at by themselves: long powers give the rate `(|A^40 q| / |A^20 q|)^(1/20)`, and what they leave starts an Arnoldi basis of at
most `KRYLOV` dimensions with Ritz pairs `A q = theta q + r`. **Seen** is a sample with `|theta| - |r| >= 1 - sqrt(u)`, or with a rate of
at least `1 + 1/20`.

Neither is a proof. `theta` is an eigenvalue of a matrix within `|r|` of `A`; for a strongly non-normal `A` it may lie outside of the
spectrum, and a rate above one may be a long transient. An eigenvalue that the right-hand side does not excite leaves no trace.
`|A| > 1` alone is not enough: for `|A| = 10` and radius 1/2 the powers decay, and so nothing is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import final

import torch
from torch import Tensor

from eqtheory.roundoff import unit_roundoff

__all__ = ["Witnesses", "seen_to_expand"]

PAIRS = 16
"""Directions that are kept. With them, of 240 random matrices of dimension 6 to 48 and radius 1.02 to 1.1 `AndersonTGS(3)` missed none,
`NewtonKrylov()` three, and of 160 with radius 0.9 and 0.95 none was taken for an expansion (tests/gradients/test_expansion.py)."""
_NEAR = 0.97
"""Compressed radius above which a sample is looked at closely: what is contracting clearly is left alone. Chosen by the same counts."""
KRYLOV = 30
_BURN_IN = 20
_CLEAR = 1 + 1 / 20
"""Below it the ratio of two late powers is put down to beating pairs of eigenvalues: a ratio of norms up to 1.05^20 = 2.65."""


@final
class Witnesses:
    """The first directions of a solve and their images.

    Args:
        batch: number of samples.
        cleared: whether an earlier look has found nothing, so that a solve without directions raises no suspicion.
    """

    def __init__(self, batch: int, *, cleared: bool = False) -> None:
        self._batch, self._cleared = batch, cleared
        self._last: tuple[Tensor, Tensor] | None = None
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []

    def at(self, w: Tensor, image: Tensor) -> None:
        """Remember how an argument and its image differ from the ones before.

        Args:
            w: shape `(batch, ...)`.
            image: `A w`.
        """
        if len(self._pairs) >= PAIRS or len(w) != self._batch:
            return
        w, image = w.reshape(self._batch, -1), image.reshape(self._batch, -1)
        if self._last is not None:
            # A difference near the rounding of what it is a difference of says nothing.
            noise = 4 * sqrt(unit_roundoff(w.dtype)) * torch.linalg.vector_norm(w, dim=1)
            self._pairs.append((w - self._last[0], image - self._last[1], noise))
        self._last = w, image

    def along(self, d: Tensor, image: Tensor) -> None:
        """Remember a direction and its image.

        Args:
            d: shape `(batch, ...)`.
            image: `A d`.
        """
        if len(self._pairs) < PAIRS and len(d) == self._batch:
            d = d.reshape(self._batch, -1)
            self._pairs.append((d, image.reshape(self._batch, -1), torch.zeros_like(d[:, 0])))

    def suspected(self) -> Tensor:
        """Which samples may have an eigenvalue of modulus one or more.

        Returns:
            Shape `(batch,)`; all where nothing is known.
        """
        if not self._pairs:
            return torch.full((self._batch,), not self._cleared, dtype=torch.bool)
        d, image, noise = (torch.stack(part, dim=1) for part in zip(*self._pairs, strict=True))
        before, after = (torch.linalg.vector_norm(t, dim=2) for t in (d, image))
        counts = before > noise
        ratio = torch.where(counts, after, 1.0) / torch.where(counts, before, 1.0)
        growth = ratio.clamp_min(torch.finfo(ratio.dtype).tiny).log()
        mean = torch.where(counts, growth, 0.0).sum(dim=1) / counts.sum(dim=1).clamp_min(1)
        edge = -sqrt(unit_roundoff(d.dtype))
        scale = (counts / torch.where(counts, before, 1.0)).unsqueeze(2)
        radius = _compressed_radius(d * scale, image * scale)
        return (counts.any(dim=1) & ~(mean < edge)) | ~(radius < _NEAR)  # true for NaN


def _compressed_radius(d: Tensor, image: Tensor) -> Tensor:
    """`|T^64|^(1/64)` of the compression of the map `d -> image` to the span of the `d`, shape `(batch,)`."""
    gram, cross = (d @ d.mT).double(), (d @ image.mT).double()
    # Directions that add less than the square root of the roundoff are dropped by the shift, which is as large as their noise.
    n = gram.shape[1]
    unit = 4 * n * unit_roundoff(d.dtype)
    shifted = gram + unit * torch.eye(n, dtype=torch.float64, device=d.device)
    factor, _ = torch.linalg.cholesky_ex(shifted)
    half = torch.linalg.solve_triangular(factor, cross, upper=False)
    T = torch.linalg.solve_triangular(factor, half.mT, upper=False).mT
    total = torch.zeros(len(d), dtype=torch.float64, device=d.device)
    for power in (1, 2, 4, 8, 16, 32, 64):
        norm = torch.linalg.matrix_norm(T).clamp_min(1e-300)
        total = total + norm.log() / power
        T = T / norm[:, None, None]
        T = T @ T
    return total.exp()


def seen_to_expand(product: Callable[[Tensor], Tensor], start: Tensor) -> tuple[Tensor, Tensor]:
    """Look closely at samples that are suspected.

    Args:
        product: `A w` for shape `(batch, ...)`.
        start: where to begin, shape `(batch, ...)`; for example the solution.

    Returns:
        Which samples have an eigenvalue of modulus one or more as far as can be seen, and the largest modulus seen, each of shape
        `(batch,)`.
    """
    shape = start.shape
    apply = lambda q: product(q.reshape(shape).to(start.dtype)).reshape(len(start), -1).double()  # noqa: E731
    q = _normalised(start.reshape(len(start), -1).double())
    logs = []
    for _ in range(2 * _BURN_IN):
        q = apply(q)  # type: ignore[no-untyped-call]
        norm = torch.linalg.vector_norm(q, dim=1)
        logs.append(norm.clamp_min(1e-300).log())
        q = _normalised(q)
    rate = (torch.stack(logs[_BURN_IN:]).sum(dim=0) / _BURN_IN).exp()
    rate = torch.where(torch.isfinite(rate), rate, torch.inf)
    # What the powers have left is rich in the largest eigenvalues, which a short basis then separates.
    theta, rest = _dominant_ritz(apply, q)
    unit = sqrt(unit_roundoff(start.dtype))
    by_ritz = torch.where(torch.isfinite(theta), theta - rest, 0.0)
    seen = (by_ritz >= 1 - unit) | (rate >= _CLEAR)
    return seen, torch.maximum(by_ritz, torch.where(rate >= _CLEAR, rate, 0.0))


def _normalised(q: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(q, dim=1, keepdim=True)
    return q / torch.where(norm > 0, norm, 1.0)


def _dominant_ritz(apply: Callable[[Tensor], Tensor], q: Tensor) -> tuple[Tensor, Tensor]:
    """Modulus of the Ritz value that is largest after its residual is taken off, and that residual; each of shape `(batch,)`."""
    batch, n = q.shape
    m = min(KRYLOV, n)
    H = torch.zeros(batch, m + 1, m, dtype=torch.float64, device=q.device)
    basis = [q]
    for k in range(m):
        w = apply(basis[-1])
        for _ in range(2):  # twice is enough
            for i, v in enumerate(basis):
                along = (v * w).sum(dim=1)
                H[:, i, k] += along
                w = w - along.unsqueeze(1) * v
        size = torch.linalg.vector_norm(w, dim=1)
        # What is left of an invariant space is noise; a zero vector there adds zero columns.
        fresh = size > 1e-13 * H[:, : k + 1, k].abs().sum(dim=1)
        H[:, k + 1, k] = torch.where(fresh, size, 0.0)
        basis.append(torch.where(fresh.unsqueeze(1), w / torch.where(fresh, size, 1.0).unsqueeze(1), 0.0))
    square = H[:, :m]
    bad = ~torch.isfinite(square).all(dim=(1, 2))
    values, vectors = torch.linalg.eig(torch.where(bad[:, None, None], 0.0, square))
    rest = H[:, m, m - 1].abs().unsqueeze(1) * vectors[:, -1].abs() / torch.linalg.vector_norm(vectors, dim=1)
    rest = torch.where(values.abs() > 0, rest, 0.0)
    best = (values.abs() - rest).argmax(dim=1, keepdim=True)
    theta, left = values.abs().gather(1, best).squeeze(1), rest.gather(1, best).squeeze(1)
    return torch.where(bad, torch.nan, theta), left
