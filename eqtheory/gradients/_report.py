"""What is known of an adjoint, sample by sample, and what is to be done where it is not the gradient that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.solvers import Status

__all__ = ["AdjointLog", "AdjointReport", "AdjointWarning", "OnAdjointFailure", "Replacement"]


class OnAdjointFailure(Enum):
    """What to do when the adjoint of at least one sample is not known to the tolerance, or its operator was seen to expand."""

    RAISE = "raise AdjointError with the report attached"
    WARN = "warn with AdjointWarning and use what the solver arrived at"
    FALL_BACK = "warn, and replace: a dense solve in small dimension, else the best partial sum of the Neumann series"


class Replacement(Enum):
    """Where the adjoint of a sample comes from."""

    NONE = 0
    DENSE = 1
    PARTIAL_SUM = 2


class AdjointWarning(RuntimeWarning):
    """The gradient of at least one sample is not what was asked for, and the caller chose to be warned."""


@dataclass(frozen=True, eq=False)
class AdjointReport:
    """How one adjoint solve `w = v + J^T w` went; everything is per sample.

    Args:
        status: codes of `Status`, int8, shape `(batch,)`.
        residual: Euclidean norm of `v + J^T w - w` at the adjoint that is used, shape `(batch,)`.
        size: Euclidean norm of `v`.
        evaluations: products with `J^T` the sample took part in, those of checks and replacements not counted.
        error_bound: an upper bound on the Euclidean distance of `w` from the exact adjoint at the state that was returned (T9), or
            `None` where no contraction factor in the Euclidean norm is known. It takes products with `J^T` as exact: where the residual
            nears the rounding of the type, rounding inside of a product can exceed it. It is no error of the state itself.
        expanding: samples whose `J^T` was seen to have an eigenvalue of modulus one or more; never all that have one.
        radius: an estimate, from below, of the largest modulus seen; zero where nothing was suspected.
        replacement: codes of `Replacement`, int8.
        method: how it was solved.
    """

    status: Tensor
    residual: Tensor
    size: Tensor
    evaluations: Tensor
    error_bound: Bound | None
    expanding: Tensor
    radius: Tensor
    replacement: Tensor
    method: str

    @property
    def solved(self) -> Tensor:
        """Samples whose adjoint meets the tolerance, shape `(batch,)`."""
        return self.status == Status.CONVERGED.value

    @property
    def sound(self) -> Tensor:
        """Samples whose adjoint meets the tolerance and whose operator was not seen to expand, shape `(batch,)`."""
        return self.solved & ~self.expanding

    def failures(self) -> str:
        """Say in one line what failed and what to do.

        Returns:
            Empty where every sample is sound.
        """
        total, unsolved = self.status.numel(), int((~self.solved).sum())
        expanding = int((self.solved & self.expanding).sum())
        parts = []
        if unsolved:
            names = sorted({Status(code).name.lower() for code in self.status[~self.solved].tolist()})
            parts.append(f"{unsolved} not solved ({', '.join(names)})")
        if expanding:
            radius = float(self.radius[self.solved & self.expanding].max())
            parts.append(f"{expanding} with an eigenvalue of dG/dy of modulus about {radius:.4g}")
        if not parts:
            return ""
        advice = (
            "the gradient is not known there; raise stop=Stop(max_steps=...), use solver=NewtonKrylov(), "
            "or choose on_failure=OnAdjointFailure.FALL_BACK"
            if unsolved
            else "the equation is solved but its fixed point repels Picard's iteration; pass expects_contraction=False "
            "to accept that"
        )
        return f"adjoint of {total} samples: {'; '.join(parts)}; {advice}"

    def __str__(self) -> str:
        """Sum the adjoint up in one line."""
        replaced = int((self.replacement != 0).sum())
        bound = (
            ""
            if self.error_bound is None
            else f", error <= {float(self.error_bound.value.max()):.3g} for exact products"
        )
        relative = self.residual / torch.where(self.size > 0, self.size, 1.0)
        return (
            f"{self.status.numel()} samples by {self.method}: {int(self.sound.sum())} sound, {replaced} replaced; "
            f"residual <= {float(relative.max()):.3g} |v|{bound}, products <= {int(self.evaluations.max())}"
        )


@final
@dataclass
class AdjointLog:
    """The reports of one solution's backward passes, oldest first.

    Args:
        reports: one for every adjoint solve; second derivatives add more.
    """

    reports: list[AdjointReport] = field(default_factory=list)

    @property
    def last(self) -> AdjointReport | None:
        """The latest report, `None` before the first backward pass."""
        return self.reports[-1] if self.reports else None
