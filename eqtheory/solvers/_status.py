"""How a solve can end for one sample, and what the caller can do about it."""

from __future__ import annotations

from enum import Enum

__all__ = ["ConvergenceWarning", "OnFailure", "Status"]


class Status(Enum):
    """How the solve of one sample ended; `advice` says what to do about it.

    The value is the code stored in `Solution.status`.

    Example:
        >>> Status(0) is Status.CONVERGED
        True
        >>> print(Status.CYCLING)
        cycling: the iterates keep returning to the same states; average them with KrasnoselskiiMann(0.5) or use Anderson()
    """

    CONVERGED = 0
    MAX_STEPS = 1
    DIVERGED = 2
    NON_FINITE = 3
    CYCLING = 4
    STAGNATED = 5

    @property
    def advice(self) -> str:
        """What this status means and what the caller can do, in one line."""
        return _ADVICE[self]

    def __str__(self) -> str:
        return f"{self.name.lower()}: {self.advice}"


_ADVICE = {
    Status.CONVERGED: "the stop test holds at the returned state",
    Status.MAX_STEPS: (
        "still above the tolerance after max_steps; if the residuals of trace=True fall, raise max_steps or use Anderson(), "
        "else check that a fixed point exists"
    ),
    Status.DIVERGED: (
        "the residual outgrew the start by more than the dtype resolves, so G does not contract along this path; relax it "
        "with KrasnoselskiiMann(eps), start closer or check the signs in G"
    ),
    Status.NON_FINITE: (
        "G is NaN or infinite at the returned state, the last finite one; steps says when; evaluate G there, or take "
        "smaller steps with KrasnoselskiiMann(eps)"
    ),
    Status.CYCLING: (
        "the iterates keep returning to the same states; average them with KrasnoselskiiMann(0.5) or use Anderson()"
    ),
    Status.STAGNATED: (
        "the iterates no longer move, though the tolerance is not met; rounding allows no more, so loosen rtol or use a "
        "wider dtype (or a larger relaxation, if it is tiny)"
    ),
}


class OnFailure(Enum):
    """What to do when at least one sample did not converge."""

    RAISE = "raise SolverError with the solution attached"
    WARN = "warn with ConvergenceWarning and return the solution"
    RETURN = "return the solution; its status says the rest"


class ConvergenceWarning(RuntimeWarning):
    """At least one sample of a solve did not converge, and the caller chose to be warned."""
