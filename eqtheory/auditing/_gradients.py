r"""Whether automatic derivatives are those of the function: of `G` itself, and of its fixed point.

Along random directions the derivative is compared with central differences at three lengths. A difference that is right has an
error of `O(h^2)` and `O(u/h)`; where the three disagree with each other there is a kink or noise, and nothing is said. The
derivative is refuted where the three agree with each other far better than with it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from eqtheory.auditing._laws import not_looked_at, refuted
from eqtheory.auditing._subject import Subject
from eqtheory.bounds import Verdict, VerdictKind
from eqtheory.errors import AdjointError, GradientUnavailableError, SolverError
from eqtheory.gradients import fixed_point
from eqtheory.operators import Linearization
from eqtheory.solvers import AndersonTGS, Stop

__all__ = ["derivative", "fixed_point_derivative"]

_DISAGREEMENT = 30.0
_DIRECTIONS = 3
_ROUNDINGS = 64.0


def derivative(subject: Subject, generator: Generator) -> Verdict:
    """Compare derivatives of `G` in state and input with differences.

    Args:
        subject: what is audited.
        generator: of the directions.

    Returns:
        The verdict.
    """
    shape, n, batch = subject.y.shape, subject.y[0].numel(), subject.y.shape[0]
    joint = torch.cat([subject.y.reshape(batch, n), subject.flat.to(subject.y.dtype)], dim=1)
    rows = subject.rows

    def at(z: Tensor) -> Tensor:
        return subject.at(z[:, :n].reshape(-1, *shape[1:]), z[:, n:], rows).reshape(z.shape[0], -1)

    scale = 1 + joint.abs().amax(dim=1, keepdim=True)
    with torch.no_grad():
        terms = at(joint).abs().amax(dim=1) + scale.squeeze(1)
    worst, trials = float("inf"), 0
    method = "reverse and forward derivatives against central differences"
    for _ in range(_DIRECTIONS):
        v = torch.randn(joint.shape, generator=generator, dtype=torch.float64).to(joint)
        try:
            claims = _claimed(at, joint, v)
        except GradientUnavailableError as error:
            return refuted(str(error), "derivative asked for", trials=batch)
        except (RuntimeError, NotImplementedError) as error:
            return not_looked_at(f"no derivative: {str(error).splitlines()[0][:100]}")
        lengths = _lengths(joint.dtype)
        measured = torch.stack([_difference(at, joint, v, h * scale) for h in lengths])
        apart_from_each_other = (measured - measured[-1]).abs().amax(dim=0).amax(dim=1)
        size = measured.abs().amax(dim=0).amax(dim=1).clamp_min(1e-3)
        noise = _ROUNDINGS * torch.finfo(joint.dtype).eps * terms / (lengths[-1] * scale.squeeze(1))
        settled = torch.isfinite(measured).all(dim=2).all(dim=0) & (apart_from_each_other + noise <= 0.02 * size)
        for kind, claimed, moved in claims:
            if not bool(torch.isfinite(claimed).all()):
                first = int((~torch.isfinite(claimed)).any(dim=1).nonzero()[0])
                return refuted(
                    f"a {kind} derivative that is not finite at sample {first}", "derivative asked for", trials=batch
                )
            # A derivative that changes within the step is no business of differences that long.
            steady = (moved - claimed).abs().amax(dim=1) <= 0.02 * torch.maximum(size, claimed.abs().amax(dim=1))
            apart = (measured[-1] - claimed).abs().amax(dim=1)
            allowed = _DISAGREEMENT * apart_from_each_other + noise + 1e-5 * size
            excess = torch.where(settled & steady, (apart - allowed) / size, -1.0)
            trials += int((settled & steady).sum())
            index = int(excess.argmax())
            worst = min(worst, -float(excess[index]))
            if float(excess[index]) > 0:
                k = int((measured[-1] - claimed).abs()[index].argmax())
                witness = (
                    f"sample {index}: the {kind} derivative says {float(claimed[index, k]):.6g} along a direction, "
                    f"differences of values say {float(measured[-1][index, k]):.6g}"
                )
                return refuted(witness, method, trials=trials, margin=worst)
    if trials == 0:
        return not_looked_at("differences of values do not settle at any sample (kinks or noise)")
    return Verdict(VerdictKind.NOT_REFUTED, trials=trials, worst_margin=worst, method=method)


def _lengths(dtype: torch.dtype) -> tuple[float, float, float]:
    """Steps at which truncation and rounding of a central difference are of like size.

    Returns:
        The longest first.
    """
    best = float(torch.finfo(dtype).eps) ** (1 / 3)
    return 10 * best, 3 * best, best


def _claimed(at: Callable[[Tensor], Tensor], z: Tensor, v: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    """What automatic differentiation says, in reverse and forward, at the points and a step away from them.

    Returns:
        The kind, the derivative, and the derivative nearby.
    """
    step = _lengths(z.dtype)[-1] * (1 + z.abs().amax(dim=1, keepdim=True)) * v
    reverse = [Linearization(lambda t, _: at(t), place, None).push(v) for place in (z, z + step)]
    found = [("reverse", reverse[0], reverse[1])]
    try:
        with torch.no_grad():
            forward = [torch.func.jvp(at, (place,), (v,))[1] for place in (z, z + step)]
    except (RuntimeError, NotImplementedError):  # no rule for dual numbers, so nobody can be misled by them
        return found
    return [*found, ("forward", forward[0], forward[1])]


def fixed_point_derivative(subject: Subject, generator: Generator, samples: int = 4) -> Verdict:
    """Compare the implicit derivative of the fixed point in the input with differences of fixed points.

    Args:
        subject: what is audited.
        generator: of the directions.
        samples: how many samples are solved for.

    Returns:
        The verdict; not looked at where the operator has no fixed point that can be found.
    """
    if subject.flat.shape[1] == 0:
        return not_looked_at("the input has no coordinates")
    some = subject.keep(torch.arange(subject.y.shape[0], device=subject.y.device) < samples)
    flat, count = some.flat, some.y.shape[0]
    v = torch.randn(flat.shape, generator=generator, dtype=torch.float64).to(flat)
    w = torch.randn(some.y.shape, generator=generator, dtype=torch.float64).to(some.y)
    eps = torch.finfo(some.y.dtype).eps
    stop = Stop(max_steps=2000, rtol=(1e3 * eps if eps < 1e-10 else 1e2 * eps))
    rows = some.rows

    def solved(x: Tensor) -> Tensor:
        return fixed_point(
            lambda y, at: some.at(y, at[0], at[1]), (x, rows), some.y, solver=AndersonTGS(3), stop=stop
        ).value

    def loss(x: Tensor) -> Tensor:
        return (w * solved(x)).reshape(count, -1).sum(dim=1)

    x = flat.clone().requires_grad_()
    try:
        (gradient,) = torch.autograd.grad(loss(x).sum(), x)
        with torch.no_grad():
            scale = 1 + flat.abs().amax(dim=1, keepdim=True)
            lengths = _lengths(some.y.dtype)
            measured = torch.stack(
                [_difference(lambda z: loss(z).unsqueeze(1), flat, v, h * scale) for h in lengths]
            ).squeeze(2)
            size_of_terms = (w.abs() * solved(flat).abs()).reshape(count, -1).sum(dim=1)
    except (SolverError, AdjointError, GradientUnavailableError, RuntimeError) as error:
        return not_looked_at(str(error).splitlines()[0][:160])
    claimed = (gradient * v).sum(dim=1)
    spread = (measured - measured[-1]).abs().amax(dim=0)
    size = measured.abs().amax(dim=0).clamp_min(1e-3)
    usable = torch.isfinite(measured).all(dim=0) & (spread <= 0.01 * size)
    # Each fixed point is known to a multiple of the tolerance; a thousandfold amplification is granted.
    noise = 1e3 * stop.rtol * size_of_terms / (lengths[-1] * scale.squeeze(1))
    usable &= noise <= 0.05 * size
    allowed = _DISAGREEMENT * spread + noise + 1e-4 * size
    excess = torch.where(usable, (measured[-1] - claimed).abs() - allowed, -1.0) / size
    index, trials = int(excess.argmax()), int(usable.sum())
    method = "implicit derivative against differences of fixed points"
    if trials == 0:
        return not_looked_at("differences of fixed points do not settle")
    if float(excess[index]) > 0:
        text = f"sample {index}: the implicit derivative says {float(claimed[index]):.6g}, differences say {float(measured[-1][index]):.6g}"
        return refuted(text, method, trials=trials, margin=-float(excess[index]))
    return Verdict(VerdictKind.NOT_REFUTED, trials=trials, worst_margin=-float(excess[index]), method=method)


def _difference(at: Callable[[Tensor], Tensor], z: Tensor, v: Tensor, h: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = (at(z + h * v) - at(z - h * v)) / (2 * h)
    return found
