r"""Sets of plausible images, their projections, and the proximal step of the squared distance to them.

For a closed set `M` with a projection `P` (a nearest point; not unique where `M` is not convex), the minimiser of

    phi(y) = |y - z|^2 / 2 + c dist^2(y, M) / 2    over y    is    prox_c(z) = (z + c P z) / (1 + c).

For any `p` in `M`, `|y - z|^2 + c |y - p|^2 = (1 + c) |y - (z + c p) / (1 + c)|^2 + c / (1 + c) |z - p|^2`; minimising over `p` first, the
smallest value is `c / (1 + c) dist^2(z, M)`, attained at the nearest `p` and the `y` that belongs to it. For convex `M` the projection
is nonexpansive and so is `prox_c`; on `M` itself it is the identity, so 1 is its Lipschitz constant wherever `M` has two points.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.constructions.imaging._linear_map import Scalar, axis_free, scalar_value
from eqtheory.errors import DomainError, InputError, ShapeError
from eqtheory.norms import Euclidean
from eqtheory.validate import positive, require_finite

__all__ = ["Ball", "Box", "ConstraintSet", "ProximalStep", "Sphere", "Subspace"]


class ConstraintSet(ABC):
    """A closed set of states.

    Laws: `project(z)` lies in the set and no point of the set is nearer to `z`; samples do not see each other.
    """

    convex: bool = False
    """Whether the set is convex, so that its projection is unique and nonexpansive."""

    @abstractmethod
    def project(self, z: Tensor) -> Tensor:
        """Find a nearest point of the set.

        Args:
            z: states, batch axis first.

        Returns:
            The shape of `z`.
        """

    def prox(self, z: Tensor, c: Scalar) -> Tensor:
        """Minimise `|y - z|^2 / 2 + c dist^2(y, M) / 2` over `y`.

        Args:
            z: states, batch axis first.
            c: weight of the set, positive; a number or a tensor without axes.

        Returns:
            `(z + c P z) / (1 + c)`, the shape of `z`.
        """
        return (z + axis_free("c", c) * self.project(z)) / (1 + c)


@final
class Subspace(ConstraintSet):
    """The span of some vectors; states of any shape with as many entries as the vectors.

    Args:
        basis: shape `(n, k)`, linearly independent columns, `1 <= k <= n`.

    Raises:
        InputError: not a floating-point tensor.
        ShapeError: not such a matrix.
        NonFiniteError: a NaN or an infinity.
        DomainError: dependent columns.
    """

    convex = True

    def __init__(self, basis: Tensor) -> None:
        if not isinstance(basis, Tensor) or not basis.dtype.is_floating_point:
            raise InputError("basis", type(basis).__name__, "a floating-point tensor", "pass a float64 matrix")
        if basis.ndim != 2 or not 1 <= basis.shape[1] <= basis.shape[0]:
            raise ShapeError(
                "basis", f"shape {tuple(basis.shape)}", "(n, k) with 1 <= k <= n", "put one vector in each column"
            )
        require_finite("basis", basis, "repair it")
        Q, R = torch.linalg.qr(basis.detach().double())
        sizes = R.diagonal().abs()
        # Backward error of a QR decomposition: columns that are dependent to rounding leave a diagonal entry of that size.
        slack = 4 * basis.shape[0] * torch.finfo(torch.float64).eps * float(Euclidean()(basis.double()).amax())
        if not bool((sizes > slack).all()):
            raise DomainError(
                "basis", "dependent columns", "linearly independent columns", "drop those that the others span"
            )
        self.basis = Q

    def project(self, z: Tensor) -> Tensor:
        """Apply the orthogonal projection.

        Args:
            z: states with as many entries as the basis vectors.

        Returns:
            The shape of `z`.

        Raises:
            ShapeError: another number of entries.
        """
        flat = z.reshape(z.shape[0], -1)
        if flat.shape[1] != self.basis.shape[0]:
            needed = f"{self.basis.shape[0]} entries a sample"
            raise ShapeError("z", f"shape {tuple(z.shape)}", needed, "the basis belongs to other states")
        Q = self.basis.to(z.device, z.dtype)
        return ((flat @ Q) @ Q.mT).reshape(z.shape)


@final
class Ball(ConstraintSet):
    """All states within a Euclidean distance of a centre.

    Args:
        radius: positive.
        center: a number, or a tensor of the shape of one state.

    Raises:
        InputError: a radius that is not a finite positive number.
        NonFiniteError: a centre with a NaN or an infinity.
    """

    convex = True

    def __init__(self, radius: float, center: Tensor | float = 0.0) -> None:
        self.radius = positive("radius", radius)
        self.center = _finite("center", center)

    def project(self, z: Tensor) -> Tensor:
        """Pull states outside back along the line to the centre.

        Args:
            z: states, batch axis first.

        Returns:
            The shape of `z`; states inside bit for bit.
        """
        center = _like(z, self.center)
        offset = z - center
        size = Euclidean().plain(offset).reshape(-1, *[1] * (z.ndim - 1))
        outside = size > self.radius
        return torch.where(outside, center + offset * (self.radius / torch.where(outside, size, 1.0)), z)


@final
class Box(ConstraintSet):
    """All states between two bounds, entry by entry.

    Args:
        lower: a number, or a tensor of the shape of one state.
        upper: likewise, nowhere below `lower`.

    Raises:
        DomainError: bounds that cross.
        NonFiniteError: a NaN or an infinity.
    """

    convex = True

    def __init__(self, lower: Tensor | float, upper: Tensor | float) -> None:
        self.lower, self.upper = _finite("lower", lower), _finite("upper", upper)
        if not bool(torch.all(torch.as_tensor(self.lower) <= torch.as_tensor(self.upper))):
            raise DomainError("lower, upper", "bounds that cross", "lower <= upper everywhere", "exchange them")

    def project(self, z: Tensor) -> Tensor:
        """Clip.

        Args:
            z: states, batch axis first.

        Returns:
            The shape of `z`.
        """
        return torch.maximum(torch.minimum(z, _like(z, self.upper)), _like(z, self.lower))


@final
class Sphere(ConstraintSet):
    """All states of one Euclidean norm; not convex: at the origin every point is nearest, and across it the projection jumps.

    Args:
        radius: positive.

    Raises:
        InputError: a radius that is not a finite positive number.
    """

    def __init__(self, radius: float) -> None:
        self.radius = positive("radius", radius)

    def project(self, z: Tensor) -> Tensor:
        """Scale states to the radius; the origin goes to the first coordinate axis.

        Args:
            z: states, batch axis first.

        Returns:
            The shape of `z`.
        """
        size = Euclidean().plain(z).reshape(-1, *[1] * (z.ndim - 1))
        first = torch.zeros_like(z[:1]).reshape(1, -1)
        first = torch.cat((torch.full_like(first[:, :1], self.radius), first[:, 1:]), dim=1).reshape(z[:1].shape)
        return torch.where(size > 0, z * (self.radius / torch.where(size > 0, size, 1.0)), first)


@final
class ProximalStep:
    """`z -> prox_c(z)`: the prior step of a set.

    Args:
        constraint: the set.
        c: weight, positive; a number or a tensor without axes, which may be trained.

    Raises:
        InputError: a weight that is not positive, or no set.

    Example:
        >>> step = ProximalStep(Ball(1.0), 1.0)
        >>> step(torch.tensor([[3.0, 0.0], [0.5, 0.0]]))
        tensor([[2.0000, 0.0000],
                [0.5000, 0.0000]])
    """

    def __init__(self, constraint: ConstraintSet, c: Scalar) -> None:
        if not isinstance(constraint, ConstraintSet):
            raise InputError("constraint", type(constraint).__name__, "a ConstraintSet", "pass for example Ball(1.0)")
        scalar_value("c", c)
        self.constraint, self.c = constraint, c

    def __call__(self, z: Tensor) -> Tensor:
        return self.constraint.prox(z, self.c)

    @property
    def lipschitz(self) -> Bound | None:
        """Lipschitz constant of the step: 1 for a convex set, `None` for any other."""
        if not self.constraint.convex:
            return None
        known = isinstance(self.constraint, (Subspace, Ball, Box))
        evidence = Evidence.PROVED if known else Evidence.DECLARED
        return Bound(1.0, Side.UPPER, "proximal step of a convex set", evidence, Euclidean().name)


def _finite(name: str, value: Tensor | float) -> Tensor | float:
    require_finite(
        name, torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64), "repair it"
    )
    return value


def _like(z: Tensor, value: Tensor | float) -> Tensor:
    if not isinstance(value, Tensor):
        return torch.as_tensor(value, dtype=z.dtype, device=z.device)
    if value.ndim and value.shape != z.shape[1:]:
        needed = f"the shape of one state, {tuple(z.shape[1:])}"
        raise ShapeError("set", f"a bound or centre of shape {tuple(value.shape)}", needed, "expand it")
    return value.to(z.device, z.dtype)
