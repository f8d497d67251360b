"""What a curve over iterations holds: slopes from both sides, residuals, errors, cost, and what was noticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.errors import BoundOrderError, InputError, MissingDependencyError
from eqtheory.lipschitz.curves._findings import Finding

__all__ = ["Curve"]


@final
@dataclass(frozen=True, eq=False)
class Curve:
    """Slopes of `x -> y_t(x)` over the iterations, sample by sample.

    Args:
        iteration: the solver whose iterates these are.
        how: how the lower side was found.
        exact: whether the lower side is the norm of the whole derivative.
        norms: names of the norms on inputs and states.
        steps: the iterations `t`, shape `(k,)`.
        lower: slopes at each sample, shape `(k, batch)`: by derivatives, lower bounds on the local modulus of `y_t`; by pairs (where the
            iteration adapts), estimates of the slopes of `y_t` over the pairs that `how` tells, which rounding inside the solver can
            exceed by more than is subtracted.
        upper: upper bounds on it by T4 or T4b, float64, the same shape; `None` where there are none.
        residual: `|G(y_t, x) - y_t|`, infinite from the step on at which a sample left the range of the type, shape `(k, batch)`.
        error: distance to the target, where one was given.
        size: `|y_t|`.
        evaluations: evaluations of the operator per sample up to and including `t`, shape `(k,)`: those of `y_t` and of its residual,
            of every tangent or perturbed copy, of the rounds before, and products that the iteration asked for, one each. Other starts
            are not counted.
        rests_on: what the lower side rests on.
        findings: what was noticed.
        assumptions: what the upper side rests on, or why there is none.
        evidence: whether the lower side is proved or estimated.

    Raises:
        BoundOrderError: a lower side exceeds the upper side.
    """

    iteration: str
    how: str
    exact: bool
    norms: tuple[str, str]
    steps: Tensor
    lower: Tensor
    upper: Tensor | None
    residual: Tensor
    error: Tensor | None
    size: Tensor
    evaluations: Tensor
    rests_on: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    assumptions: tuple[str, ...] = ()
    evidence: Evidence = Evidence.PROVED

    def __post_init__(self) -> None:
        if self.upper is None:
            return
        crossed = ~(self.lower.to(self.upper) <= self.upper)
        if bool(crossed.any()):
            row, sample = crossed.nonzero()[0].tolist()
            message = (
                f"after {int(self.steps[row])} steps of {self.iteration} sample {sample} has slope {float(self.lower[row, sample]):.6g}, "
                f"but the operator's constants allow {float(self.upper[row, sample]):.6g}: they are wrong there "
                f"({'; '.join(self.assumptions)})"
            )
            raise BoundOrderError(message)

    def worst(self) -> Tensor:
        """The largest slope of the batch at every step, on the Lipschitz constant over any convex set with the samples inside.

        A lower bound where `evidence` is proved. Where slopes are those of pairs, the set has to hold these, and it is an estimate.

        Returns:
            Shape `(k,)`.
        """
        return self.lower.amax(dim=1)

    def at(self, t: int) -> Bracket | Bound:
        """What is known after `t` steps, sample by sample.

        Args:
            t: one of `steps`.

        Returns:
            A bracket, or the lower bound alone where there is no upper one; an estimate where slopes are estimated.

        Raises:
            InputError: `t` was not looked at.
        """
        rows = (self.steps == t).nonzero()
        if len(rows) == 0:
            raise InputError(
                "t", str(t), f"one of the {len(self.steps)} steps looked at", "ask the curve for it: steps=[...]"
            )
        row = int(rows[0])
        name = self.norms[0] if self.norms[0] == self.norms[1] else f"{self.norms[0]} to {self.norms[1]}"
        how = f"{self.iteration}: {self.how}"
        side = Side.ESTIMATE if self.evidence is Evidence.ESTIMATED else Side.LOWER
        lower = Bound(self.lower[row], side, how, self.evidence, name, self.rests_on)
        if self.upper is None:
            return lower
        evidence = Evidence.PROVED if all("declared" not in text for text in self.assumptions) else Evidence.DECLARED
        return Bracket(
            lower, Bound(self.upper[row], Side.UPPER, f"{self.iteration}: T4, T4b", evidence, name, self.assumptions)
        )

    def __str__(self) -> str:
        worst, sign = self.worst(), "~" if self.evidence is Evidence.ESTIMATED else ">="
        lines = [
            f"{self.iteration}: slopes of x -> y_t(x) in {self.norms[0]} to {self.norms[1]}, {self.lower.shape[1]} samples, by {self.how}",
            f"  t = {int(self.steps[0])}: {sign} {float(worst[0]):.4g}    t = {int(self.steps[-1])}: {sign} {float(worst[-1]):.4g}"
            + ("" if self.upper is None else f", <= {float(self.upper[-1].amax()):.4g}"),
            *(f"  {finding}" for finding in self.findings),
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The curve as plain numbers, for JSON.

        Returns:
            Lists and strings only; an infinite residual is `None`.
        """

        def listed(t: Tensor | None) -> Any:
            if t is None:
                return None
            clean = t.to(torch.float64)
            rows = clean.tolist()
            return [[v if abs(v) < float("inf") else None for v in row] for row in rows]

        return {
            "iteration": self.iteration,
            "how": self.how,
            "exact": self.exact,
            "norms": list(self.norms),
            "steps": self.steps.tolist(),
            "evaluations": self.evaluations.tolist(),
            "lower": listed(self.lower),
            "upper": listed(self.upper),
            "residual": listed(self.residual),
            "error": listed(self.error),
            "evidence": self.evidence.value,
            "rests_on": self.rests_on,
            "findings": [str(finding) for finding in self.findings],
            "assumptions": list(self.assumptions),
        }

    def plot(self, axes: Any = None) -> Any:
        """Draw slopes on one side, residuals and errors on the other, against iterations.

        Args:
            axes: a pair of axes of matplotlib; a new figure where `None`.

        Returns:
            The figure.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise MissingDependencyError("matplotlib", "plot") from None
        if axes is None:
            figure = Figure(figsize=(9, 3.6), layout="constrained")
            axes = figure.subplots(1, 2)
        left, right = axes
        t = self.steps.tolist()
        label = "estimate of |Dy_t|" if self.evidence is Evidence.ESTIMATED else "lower bound on |Dy_t|"
        _fan(left, t, self.lower, "C0", "|Dy_t|" if self.exact else label)
        if self.upper is not None:
            left.plot(t, self.upper.amax(dim=1).tolist(), "C3--", label="upper bound (T4)")
        left.set(xlabel="iterations t", ylabel="slope of x to y_t(x)", title=_short(self.iteration))
        if float(self.worst().max()) > 0 and float(self.worst()[-1]) > 30 * float(
            self.worst()[1:].min().clamp_min(1e-300)
        ):
            left.set_yscale("log")
        left.legend(frameon=False)
        _fan(right, t, self.residual, "C1", "residual")
        if self.error is not None:
            _fan(right, t, self.error, "C2", "error")
        right.set(
            xlabel="iterations t",
            ylabel="norm",
            yscale="log",
            title="residual and error" if self.error is not None else "residual",
        )
        right.legend(frameon=False)
        for axis in (left, right):
            axis.spines[["top", "right"]].set_visible(False)
        return left.figure


def _fan(axis: Any, t: list[int], rows: Tensor, colour: str, label: str) -> None:
    """The median of the batch as a line, its range as a band."""
    finite = torch.where(torch.isfinite(rows), rows, torch.nan).to(torch.float64)
    axis.plot(t, finite.nanmedian(dim=1).values.tolist(), colour, label=label)
    if rows.shape[1] > 1:
        low = torch.where(torch.isnan(finite), torch.inf, finite).amin(dim=1)
        high = torch.where(torch.isnan(finite), -torch.inf, finite).amax(dim=1)
        seen = torch.isfinite(low) & torch.isfinite(high)
        low, high = torch.where(seen, low, torch.nan), torch.where(seen, high, torch.nan)
        axis.fill_between(t, low.tolist(), high.tolist(), color=colour, alpha=0.2, linewidth=0)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
