"""How far off are the cheap gradients here? Measured against the exact one, beside what T9a says about all losses at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.gradients._captured import Captured
from eqtheory.gradients._gradient import Equilibrium, Gradient
from eqtheory.gradients._implicit import Implicit
from eqtheory.gradients._neumann import Neumann
from eqtheory.gradients._phantom import OneStep, Phantom
from eqtheory.gradients._report import AdjointLog
from eqtheory.nests import map_tensors, tensors
from eqtheory.operators import ImplicitOperator, as_operator
from eqtheory.solvers import Picard, Solver, Stop, fixed_point
from eqtheory.theorems.jacobian_free import threshold

__all__ = ["Bias", "DescentCondition", "GradientBias", "gradient_bias"]

_PICARD = Picard()
_STOP = Stop()
_EXACT = Implicit()
_USUAL = (OneStep(), Phantom(), Neumann())


@dataclass(frozen=True, eq=False)
class Bias:
    """One approximate gradient beside the exact one.

    Args:
        gradient: the approximation.
        of: `inputs`, compared sample by sample, or `parameters`, compared as one vector.
        relative_error: Euclidean distance over the norm of the exact gradient, shape `(batch,)` or `(1,)`; NaN where that is zero.
        cosine: of the angle between the two; NaN where one is zero.
    """

    gradient: Gradient
    of: str
    relative_error: Tensor
    cosine: Tensor

    @property
    def angle(self) -> Tensor:
        """The angle between the two, in degrees."""
        return self.cosine.clamp(-1, 1).acos().rad2deg()

    @property
    def descends(self) -> Tensor:
        """Whether a small step against the approximation lowers the loss, to first order."""
        return self.cosine > 0


@dataclass(frozen=True, eq=False)
class DescentCondition:
    """T9a at one fixed point, for the derivative `M` of the operator in its inputs; estimates in floating point.

    Args:
        gamma: spectral norm of `dG/dy`, shape `(batch,)`.
        kappa: condition number of `M M^T`, infinite without full row rank.
        threshold: `2 sqrt(kappa) / (1 + kappa)`, zero without full row rank.
    """

    gamma: Tensor
    kappa: Tensor
    threshold: Tensor

    @property
    def always_descends(self) -> Tensor:
        """Samples at which the Jacobian-free gradient descends for every loss and every Jacobian of that norm."""
        return self.gamma < self.threshold


@dataclass(frozen=True, eq=False)
class GradientBias:
    """What was measured.

    Args:
        biases: one for every approximation and kind of variable.
        condition: T9a's condition, where the dimensions allow its matrices; `None` elsewhere.
    """

    biases: tuple[Bias, ...]
    condition: DescentCondition | None

    def __str__(self) -> str:
        """One line for every comparison."""
        lines = []
        for bias in self.biases:
            known = torch.isfinite(bias.cosine) & torch.isfinite(bias.relative_error)
            measured = "nothing to compare"
            if bool(known.any()):
                error, cosine = float(bias.relative_error[known].max()), float(bias.cosine[known].min())
                measured = f"relative error <= {error:.3g}, cosine >= {cosine:.4f}, descends in {int(bias.descends.sum())} of {len(known)}"
            undefined = "" if bool(known.all()) else f", undefined in {int((~known).sum())}"
            lines.append(f"{_shown(bias.gradient):34} {bias.of:10} {measured}{undefined}")
        if self.condition is not None:
            sure = int(self.condition.always_descends.sum())
            lines.append(f"T9a in the inputs: descent for every loss in {sure} of {len(self.condition.gamma)}")
        return "\n".join(lines)


def gradient_bias(
    G: ImplicitOperator | Any,
    x: Any,
    y0: Tensor | None = None,
    *,
    cotangent: Tensor | None = None,
    generator: torch.Generator | None = None,
    gradients: Sequence[Gradient] = _USUAL,
    solver: Solver[Any] = _PICARD,
    stop: Stop = _STOP,
    exact: Implicit = _EXACT,
    dense_up_to: int = 256,
) -> GradientBias:
    """Compare approximate gradients with the exact one at the fixed points of a batch.

    One solve serves all. Gradients are taken with respect to the floating-point inputs and, where it has any, the parameters and captured
    tensors of `G` that require one.

    Args:
        G: the operator.
        x: inputs.
        y0: starting states.
        cotangent: gradient of the loss with respect to the fixed points, their shape; by default independent normal numbers.
        generator: draws them.
        gradients: the approximations.
        solver: of the fixed points.
        stop: when they are found.
        exact: solves the exact adjoint.
        dense_up_to: largest dimension of the state at which T9a's matrices are formed.

    Returns:
        The comparison.

    Raises:
        InputError: neither a cotangent nor a generator, states of several tensors, or an input without the batch; with the subclass
            `ShapeError`.
        AdjointError: the exact gradient is not known.

    Theorem: T9, T9a.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0]], dtype=torch.float64)
        >>> found = gradient_bias(lambda y, x: 0.5 * y + x, x, torch.zeros_like(x), cotangent=torch.ones_like(x), gradients=[OneStep()])
        >>> found.biases[0].relative_error, found.biases[0].descends
        (tensor([0.5000], dtype=torch.float64), tensor([True]))
    """
    operator = as_operator(G)
    start = operator.initial_state(x) if y0 is None else y0
    _check(x, start, cotangent)
    with torch.no_grad():
        solution = fixed_point(operator, x, start, solver=solver, stop=stop)
    if cotangent is None:
        if generator is None:
            raise InputError("cotangent", "None, and no generator", "one of them", "pass a torch.Generator")
        cotangent = torch.randn(start.shape, generator=generator, dtype=start.dtype).to(start.device)
    inputs = map_tensors(_variable, x)
    variables = [t for _, t in tensors(inputs) if t.requires_grad]
    parameters = [t for t in Captured(G).tensors if t.requires_grad]

    def gradient_by(rule: Gradient) -> dict[str, Tensor]:
        with torch.enable_grad():
            found = Equilibrium(
                operator,
                inputs,
                solution.value,
                solution.steps,
                int(solution.steps.max()),
                solver,
                start,
                AdjointLog(),
            )
            value = rule.attach(found)
            wanted = [*variables, *parameters]
            parts = torch.autograd.grad(value, wanted, cotangent, allow_unused=True)
        filled = [torch.zeros_like(t) if g is None else g for t, g in zip(wanted, parts, strict=True)]
        own, shared = filled[: len(variables)], filled[len(variables) :]
        vectors = {}
        if own:
            vectors["inputs"] = torch.cat([g.reshape(len(start), -1).double() for g in own], dim=1)
        if shared:
            vectors["parameters"] = torch.cat([g.reshape(1, -1).double() for g in shared], dim=1)
        return vectors

    truth = gradient_by(exact)
    biases = []
    for rule in gradients:
        found = gradient_by(rule)
        for of, g in truth.items():
            size, other = (torch.linalg.vector_norm(t, dim=1) for t in (g, found[of]))
            error = torch.linalg.vector_norm(found[of] - g, dim=1) / size
            biases.append(Bias(rule, of, error, (g * found[of]).sum(dim=1) / (size * other)))
    small = start[0].numel() <= dense_up_to and bool(variables)
    condition = _condition(operator, solution.value, inputs, variables) if small else None
    return GradientBias(tuple(biases), condition)


def _shown(gradient: Gradient) -> str:
    """The call that makes it, without what is left at its default."""
    if not is_dataclass(gradient):
        return type(gradient).__name__
    chosen = [(f.name, getattr(gradient, f.name)) for f in fields(gradient) if getattr(gradient, f.name) != f.default]
    return f"{type(gradient).__name__}({', '.join(f'{name}={value}' for name, value in chosen)})"


def _check(x: Any, start: Any, cotangent: Tensor | None) -> None:
    """Refuse what can not be compared sample by sample."""
    if not isinstance(start, Tensor):
        remedy = "write G for one state that holds the parts side by side"
        raise InputError("y0", type(start).__name__, "states of one tensor", remedy)
    for name, t in tensors(x):
        if t.dtype.is_floating_point and (t.ndim == 0 or t.shape[0] != start.shape[0]):
            remedy = "capture it in G, where it is compared as a parameter, or expand it to the batch"
            raise InputError(name, f"shape {tuple(t.shape)}", f"{start.shape[0]} samples along the first axis", remedy)
    if cotangent is not None and cotangent.shape != start.shape:
        came, needed = f"shape {tuple(cotangent.shape)}", f"that of the states, {tuple(start.shape)}"
        raise ShapeError("cotangent", came, needed, "pass the gradient of the loss in the fixed points")


def _variable(t: Tensor) -> Tensor:
    return t.detach().clone().requires_grad_() if t.dtype.is_floating_point else t


def _condition(operator: ImplicitOperator, y: Tensor, x: Any, variables: list[Tensor]) -> DescentCondition:
    """The two derivatives of the operator, row by row, and what T9a makes of them."""
    with torch.enable_grad():
        at = y.detach().requires_grad_()
        value = operator(at, x).reshape(len(y), -1)
    rows: list[tuple[Tensor, Tensor]] = []
    for i in range(value.shape[1]):
        unit = torch.zeros_like(value)
        unit[:, i] = 1
        parts = torch.autograd.grad(value, [at, *variables], unit, retain_graph=True, allow_unused=True)
        filled = [
            (torch.zeros_like(t) if g is None else g).reshape(len(y), -1).double()
            for t, g in zip([at, *variables], parts, strict=True)
        ]
        rows.append((filled[0], torch.cat(filled[1:], dim=1)))
    J, M = (torch.stack(part, dim=1) for part in zip(*rows, strict=True))
    gamma = torch.linalg.matrix_norm(J, ord=2)
    values = torch.linalg.svdvals(M)
    full = values.shape[1] == J.shape[1]
    least = values[:, -1] if full else torch.zeros_like(gamma)
    noise = max(M.shape[1:]) * torch.finfo(M.dtype).eps * values[:, 0]
    ranked = least > noise
    kappa = torch.where(ranked, (values[:, 0] / torch.where(ranked, least, 1.0)) ** 2, torch.inf)
    return DescentCondition(gamma, kappa, torch.where(ranked, threshold(torch.where(ranked, kappa, 1.0)), 0.0))
