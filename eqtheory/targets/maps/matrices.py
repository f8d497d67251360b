"""Matrix inverse and matrix square root, in the spectral or the Frobenius norm on both sides.

Singular values and eigenvalues of symmetric matrices move by at most the spectral norm of a perturbation (Weyl), and the
spectral norm is at most the Frobenius norm: `s_i(B) > s_i(A) - r` on the ball of radius `r` in either norm.

A computed singular value errs by a modest multiple of `n U |A|`. That much is taken off first, so membership and bounds are
about the matrix itself: one that may be singular counts as outside.

References:
    N. J. Higham, Functions of Matrices, SIAM 2008, section 6.2; R. Bhatia, Matrix Analysis, Springer 1997, X.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable

from eqtheory.errors import InputError
from eqtheory.norms import Euclidean, Norm, Spectral
from eqtheory.operators import OncePerInput
from eqtheory.targets._arithmetic import U
from eqtheory.targets._base import Target
from eqtheory.targets._domains import log_uniform, mixture, normal, orthogonal, signs

__all__ = ["MatrixInverseMap", "MatrixSquareRootMap", "singular_value_error"]


def singular_value_error(largest: Tensor, dimension: int) -> Tensor:
    """Bound the error of computed singular values, and of eigenvalues of symmetric matrices.

    Args:
        largest: largest singular value, shape `(batch,)`.
        dimension: number of rows or columns, the larger.

    Returns:
        `8 n U |A|`, shape `(batch,)`: backward stability with a modest constant.
    """
    return 8.0 * dimension * U * largest


class _MatrixTarget(Target):
    """Square matrices with one norm for inputs and outputs."""

    def __init__(self, dimension: int, norm: Norm, title: str) -> None:
        if dimension < 1:
            raise InputError("dimension", str(dimension), "dimension >= 1", "pass for example dimension=3")
        if not isinstance(norm, (Spectral, Euclidean)):
            raise InputError("norm", norm.name, "Spectral() or Euclidean()", "the bounds are proved in these two norms")
        self.dimension = dimension
        self.input_norm = self.output_norm = norm
        self.input_shape = self.output_shape = (dimension, dimension)
        self.name = f"{title} ({dimension} x {dimension}, {norm.name})"

    def _block(self, sympy: Any, block: tuple[tuple[Any, ...], ...]) -> tuple[tuple[Any, ...], ...]:
        """A small matrix bordered by the identity, or cut down to the dimension."""
        n = self.dimension
        inside = range(len(block))
        return tuple(
            tuple(
                sympy.sympify(block[i][j]) if i in inside and j in inside else sympy.Integer(int(i == j))
                for j in range(n)
            )
            for i in range(n)
        )


class MatrixInverseMap(_MatrixTarget):
    """The inverse on `GL_n`.

    `A^-1 - B^-1 = A^-1 (B - A) B^-1`, so in both norms a pair has slope at most `|A^-1|_2 |B^-1|_2` (a spectral norm times a
    Frobenius norm bounds the Frobenius norm of a product). On a ball with `r < s_min` this is at most `1/(s_min - r)^2`, for all
    pairs of invertible matrices and without convexity. The derivative `H -> -A^-1 H A^-1` has norm `1/s_min^2` exactly, at
    `H = u v^T` with the last singular vectors. `sup |B^-1|` is `1/(s_min - r)` or, Frobenius, `(sum_i (s_i - r)^-2)^(1/2)`.

    Args:
        dimension: `n`.
        norm: `Spectral()` or `Euclidean()` (Frobenius), for inputs and outputs alike.
    """

    domain = "an invertible matrix"
    remedy = "its smallest singular value is zero up to rounding; regularise it or drop the sample"

    def __init__(self, dimension: int = 3, norm: Norm | None = None) -> None:
        super().__init__(dimension, norm or Spectral(), "matrix inverse")
        self.formula = f"A^-1 on GL_{dimension}"
        # Elimination with partial pivoting: relative error below a few n U cond(A), the growth factor being modest.
        self.evaluation_ulps = 16.0 * dimension
        self._singular_values = OncePerInput(self._find_singular_values)

    @torch.no_grad()
    def _find_singular_values(self, x: Tensor) -> Tensor:
        """Lower bounds on the singular values, in falling order."""
        s = torch.linalg.svdvals(x)
        return s - singular_value_error(s[:, :1], self.dimension)

    def _contains(self, x: Tensor) -> Tensor:
        return self._singular_values(x)[:, -1] > 0

    def _value(self, x: Tensor) -> Tensor:
        return torch.linalg.inv(x)

    def _error_scale(self, x: Tensor, value: Tensor) -> Tensor:
        s = self._singular_values(x)
        return self.output_norm(value) * s[:, 0] / s[:, -1]

    def _modulus(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(x)[:, -1] ** -2

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        left = (self._singular_values(x) - r.unsqueeze(1)).clamp_min(0.0)
        sup = 1 / left[:, -1] if isinstance(self.output_norm, Spectral) else (left**-2).sum(dim=1).sqrt()
        return sup, left[:, -1] ** -2

    def _draw(self, n: int, generator: Generator) -> Tensor:
        d = self.dimension
        spectrum = torch.stack([log_uniform(n, 0.1, 10, generator) for _ in range(d)], dim=1)
        spectrum[:, -1] = log_uniform(n, 1e-6, 1, generator)
        nearly_singular = orthogonal(n, d, generator) @ torch.diag_embed(spectrum) @ orthogonal(n, d, generator)
        # Triangular with a large upper part: eigenvalues say nothing about the smallest singular value.
        upper = torch.triu(normal((n, d, d), generator), diagonal=1) * log_uniform(n, 1, 100, generator).reshape(
            -1, 1, 1
        )
        non_normal = upper + torch.diag_embed(signs(n, generator).unsqueeze(1).expand(n, d))
        return mixture(generator, nearly_singular, non_normal, normal((n, d, d), generator))

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        blocks: list[Any] = [((2,),), ((sympy.Rational(1, 2**20),),)]
        if self.dimension > 1:
            blocks += [((2, 1), (1, 2)), ((1, 1000), (0, -1)), ((2, 3), (5, 7))]
        matrices = [self._block(sympy, block) for block in blocks]
        return tuple((m, tuple(map(tuple, sympy.Matrix(m).inv().tolist()))) for m in matrices)

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.inverse(mp.matrix(x)).tolist()

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        entries = depth.new_ones(2, depth.shape[0], self.dimension)
        entries[0, :, -1], entries[1, :, -1] = depth, depth / 2
        return torch.diag_embed(entries[0]), torch.diag_embed(entries[1])


class _SymmetricRoot(torch.autograd.Function):
    """Square root of symmetric positive definite matrices with its Fréchet derivative.

    `S = sqrt A`, `S L + L S = H`: in the eigenbasis `L_ij = H_ij / (s_i + s_j)`, which has no trouble with equal eigenvalues,
    unlike the derivative of the eigenvectors.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        eigenvalues, vectors = torch.linalg.eigh(x)
        s = eigenvalues.clamp_min(0.0).sqrt()
        ctx.save_for_backward(s, vectors)
        root = (vectors * s.unsqueeze(1)) @ vectors.mT
        return (root + root.mT) / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        s, vectors = ctx.saved_tensors
        rotated = vectors.mT @ ((grad + grad.mT) / 2) @ vectors
        return vectors @ (rotated / (s.unsqueeze(1) + s.unsqueeze(2))) @ vectors.mT


class MatrixSquareRootMap(_MatrixTarget):
    """The principal square root of symmetric positive definite matrices.

    `sqrt A (sqrt A - sqrt B) + (sqrt A - sqrt B) sqrt B = A - B`, a Sylvester equation solved by
    `int_0^inf exp(-t sqrt A) (A - B) exp(-t sqrt B) dt`, gives `|sqrt A - sqrt B| <= |A - B| / (sqrt l_min(A) + sqrt l_min(B))`
    in both norms and for all pairs. On a ball with `r < l_min` that is at most `1/(2 sqrt(l_min - r))`; the derivative at
    `H = v v^T` with the last eigenvector attains `1/(2 sqrt l_min)`. Values stay bounded: `sup = sqrt(l_max + r)` or, Frobenius,
    `sqrt(tr A + sqrt(n) r)`, as `|sqrt B|_F^2 = tr B` and the trace is `sqrt(n)`-Lipschitz.

    Args:
        dimension: `n`.
        norm: `Spectral()` or `Euclidean()` (Frobenius), for inputs and outputs alike.
    """

    domain = "a symmetric positive definite matrix"
    remedy = "symmetrise with (A + A.mT) / 2, and shift by a multiple of the identity if an eigenvalue is not positive"

    def __init__(self, dimension: int = 3, norm: Norm | None = None) -> None:
        super().__init__(dimension, norm or Spectral(), "matrix square root")
        self.formula = f"sqrt A on symmetric positive definite {dimension} x {dimension} matrices"
        self.evaluation_ulps = 16.0 * dimension
        self._extremes = OncePerInput(self._find_extremes)

    def _contains(self, x: Tensor) -> Tensor:
        low, high = self._extremes(x)
        return (x == x.mT).flatten(1).all(dim=1) & (low > 0) & (high > 0)

    @torch.no_grad()
    def _find_extremes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lower bound on the smallest and upper bound on the largest eigenvalue."""
        eigenvalues = torch.linalg.eigvalsh(x)
        slack = singular_value_error(eigenvalues.abs().amax(dim=1), self.dimension)
        return eigenvalues[:, 0] - slack, eigenvalues[:, -1] + slack

    def _value(self, x: Tensor) -> Tensor:
        return _SymmetricRoot.apply(x)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def _error_scale(self, x: Tensor, value: Tensor) -> Tensor:
        # The computed eigenvalues are those of a matrix within n U |A| of A, and the root's slope between them is at most
        # 1 / (2 sqrt l_min); in the Frobenius norm the perturbation is up to sqrt(n) larger.
        low, high = self._extremes(x)
        return self.output_norm(value) + self.dimension**0.5 * high / low.sqrt()

    def _modulus(self, x: Tensor) -> Tensor:
        return 0.5 / torch.linalg.eigvalsh(x)[:, 0].sqrt()

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self._extremes(x)
        if isinstance(self.output_norm, Spectral):
            sup = (high + r).sqrt()
        else:
            sup = (x.diagonal(dim1=1, dim2=2).sum(dim=1) + self.dimension**0.5 * r).sqrt()
        return sup, 0.5 / (low - r).clamp_min(0.0).sqrt()

    def _tangent(self, v: Tensor) -> Tensor:
        return (v + v.mT) / 2

    def _draw(self, n: int, generator: Generator) -> Tensor:
        d = self.dimension
        spread = torch.stack([log_uniform(n, 0.1, 10, generator) for _ in range(d)], dim=1)
        equal = spread[:, :1].expand(n, d)
        spectrum = mixture(generator, spread, equal).clone()
        spectrum[:, -1] = torch.minimum(
            spectrum[:, -1], mixture(generator, log_uniform(n, 1e-8, 1, generator), spectrum[:, -1])
        )
        q = orthogonal(n, d, generator)
        matrix = (q * spectrum.unsqueeze(1)) @ q.mT
        return (matrix + matrix.mT) / 2

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        small = sympy.Rational(1, 2**20)
        roots: list[Any] = [((2,),), ((sympy.sqrt(2),),), ((small,),)]
        if self.dimension > 1:
            roots += [((2, 1), (1, 2)), ((1, 0), (0, small)), ((3, -1), (-1, sympy.Rational(1, 2)))]
        matrices = [self._block(sympy, root) for root in roots]
        return tuple((tuple(map(tuple, (sympy.Matrix(m) ** 2).tolist())), m) for m in matrices)

    def _reference(self, mp: Any, x: Any) -> Any:
        eigenvalues, vectors = mp.eigsy(mp.matrix(x))
        return (vectors * mp.diag([mp.sqrt(value) for value in eigenvalues]) * vectors.T).tolist()

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        # Multiples of the identity: well conditioned at every scale, so the slope 1/sqrt(depth) is not lost in rounding.
        unit = torch.eye(self.dimension, dtype=depth.dtype, device=depth.device)
        return depth.reshape(-1, 1, 1) * unit, depth.reshape(-1, 1, 1) / 4 * unit
