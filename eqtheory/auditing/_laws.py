"""The laws of an operator: finite values, the state's shape and type, equal results for equal arguments, no company."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from eqtheory.auditing._subject import Subject
from eqtheory.bounds import Verdict, VerdictKind
from eqtheory.errors import EqTheoryError
from eqtheory.nests import map_tensors, take
from eqtheory.testing.assertions import assert_batch_independent, assert_deterministic
from eqtheory.testing.assertions._evaluation import error_of
from eqtheory.testing.evidence import Refuted

__all__ = ["batch_independent", "deterministic", "finite", "not_looked_at", "shape"]


def not_looked_at(why: str) -> Verdict:
    """A verdict on nothing.

    Args:
        why: what stood in the way.

    Returns:
        Not refuted, in no trial.
    """
    return Verdict(VerdictKind.NOT_REFUTED, trials=0, worst_margin=float("nan"), method=f"not looked at: {why}")


def refuted(witness: str, method: str, *, trials: int, margin: float = -1.0) -> Verdict:
    """A refutation.

    Args:
        witness: the instance, in words.
        method: how it was found.
        trials: instances looked at.
        margin: how badly it fails.

    Returns:
        The verdict.
    """
    return Verdict(VerdictKind.REFUTED, trials=trials, worst_margin=margin, method=method, witness=witness)


def _passed(trials: int, method: str, margin: float = 0.0) -> Verdict:
    return Verdict(VerdictKind.NOT_REFUTED, trials=trials, worst_margin=margin, method=method)


def shape(subject: Subject) -> Verdict:
    """Whether states are mapped to states: a tensor of the same shape, type and device.

    Args:
        subject: what is audited.

    Returns:
        The verdict.
    """
    y, x = subject.y.clone(), map_tensors(torch.Tensor.clone, subject.x)
    try:
        with torch.no_grad():
            value = subject.function(y, x)
    except EqTheoryError as error:
        return refuted(f"the operator refuses its samples: {error}", "one call", trials=1)
    except (ArithmeticError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        return refuted(f"the operator raises {type(error).__name__}: {_line(error)}", "one call", trials=1)
    if not isinstance(value, Tensor):
        return refuted(f"a {type(value).__name__} comes back", "one call", trials=1)
    before = (tuple(y.shape), y.dtype, y.device)
    after = (tuple(value.shape), value.dtype, value.device)
    if before != after:
        changed = next((a, b) for a, b in zip(before, after, strict=True) if a != b)
        return refuted(f"{changed[0]} comes in and {changed[1]} goes out", "one call", trials=1)
    return _passed(1, "one call")


def finite(subject: Subject) -> tuple[Verdict, Tensor]:
    """Whether finite arguments give finite values: at the samples, at zero and at the corners where the regions have them.

    Args:
        subject: what is audited.

    Returns:
        The verdict, and which samples are finite, booleans, shape `(n,)`.
    """
    with torch.no_grad():
        value = subject.G(subject.y.clone(), map_tensors(torch.Tensor.clone, subject.x))
    good = torch.isfinite(value).reshape(value.shape[0], -1).all(dim=1)
    if not bool(good.all()):
        first = int((~good).nonzero()[0])
        return refuted(
            f"y = {_shown(subject.y[first])}, x = {_shown(subject.flat[first])}", "samples", trials=len(good)
        ), good
    y, flat = _corners(subject)
    with torch.no_grad():
        value = subject.at(y, flat) if len(y) else y
    there = torch.isfinite(value).reshape(value.shape[0], -1).all(dim=1) if len(value) else good[:0]
    if not bool(there.all()):
        first = int((~there).nonzero()[0])
        return refuted(
            f"y = {_shown(y[first])}, x = {_shown(flat[first])}", "zero and corners", trials=len(good) + len(there)
        ), good
    return _passed(len(good) + len(there), "samples, zero and corners"), good


def deterministic(subject: Subject) -> Verdict:
    """Whether equal arguments give equal results, and are left as they were.

    Args:
        subject: what is audited.

    Returns:
        The verdict.
    """
    y, x = subject.y.clone(), map_tensors(torch.Tensor.clone, subject.x)
    try:
        with torch.no_grad():
            assert_deterministic(subject.G, x, y)
    except Refuted as found:
        return refuted(str(found), "repeated calls", trials=len(y))
    return _passed(len(y), "repeated calls")


def batch_independent(subject: Subject) -> Verdict:
    """Whether a sample's result is the same in other company, up to rounding.

    Args:
        subject: what is audited.

    Returns:
        The verdict.
    """
    if len(subject.y) < 2:  # give it company: the same input, and a state that is not the same
        company = torch.cat([subject.y, subject.y + 1 + subject.y.abs()])
        x = take(subject.x, torch.zeros(2, dtype=torch.int64, device=subject.y.device), 1)
        subject = replace(subject, y=company, x=x)
    try:
        with torch.no_grad():
            first = assert_batch_independent(
                subject.G, subject.x, subject.y, norm=subject.norm, rounding=subject.rounding
            )
            return _other_mates(subject, first)
    except Refuted as found:
        return refuted(str(found), "smaller batches", trials=len(subject.y))
    except (RuntimeError, ValueError) as error:
        return refuted(f"a smaller batch is refused: {_line(error)}", "smaller batches", trials=len(subject.y))


def _other_mates(subject: Subject, first: Verdict) -> Verdict:
    """The same samples in batches of odd sizes, among mates whose states are far away: coupling that averages out in large batches shows.

    Returns:
        The verdict.
    """
    y, n, trials, worst = subject.y, len(subject.y), first.trials, first.worst_margin
    with torch.no_grad():
        alone = subject.G(y.clone(), subject.x)
        slack = 2 * error_of(subject.G, subject.norm, y, subject.x, alone, subject.rounding)
    for size in dict.fromkeys((2, 3, 5, 7, min(n, 13))):
        if size > n:
            continue
        index = torch.arange(size, device=y.device)
        mates = y[index].clone()
        mates[1:] = subject.states.project(mates[1:].roll(1, 0) + 10 * (1 + mates[1:].abs()))
        with torch.no_grad():
            value = subject.G(mates, take(subject.x, index, n))
        if not bool(torch.isfinite(value[0]).all()):
            continue
        gap = subject.norm.distance(value[:1], alone[:1])
        trials += 1
        worst = min(
            worst, float(1 - gap[0] / slack[0]) if float(slack[0]) > 0 else (1.0 if float(gap[0]) == 0 else -1.0)
        )
        if float(gap[0]) > float(slack[0]):
            return refuted(
                f"sample 0 moves by {float(gap[0]):.3g} in a batch of {size} with other mates",
                "other mates",
                trials=trials,
            )
    return Verdict(VerdictKind.NOT_REFUTED, trials, worst, "other company, other mates")


def unchanged(subject: Subject, before: Tensor) -> bool:
    """Whether the operator still gives what it gave at the beginning of the audit.

    Args:
        subject: what is audited.
        before: the values then.

    Returns:
        True where every entry is the same.
    """
    with torch.no_grad():
        return torch.equal(subject.G(subject.y.clone(), subject.x), before)


def _corners(subject: Subject) -> tuple[Tensor, Tensor]:
    far = torch.finfo(subject.y.dtype).max ** 0.25
    y, flat = subject.y[:1], subject.flat[:1]
    states = [subject.states.project(s * torch.ones_like(y)) for s in (0.0, far, -far)]
    inputs = [subject.inputs.project(s * torch.ones_like(flat)) if flat.shape[1] else flat for s in (0.0, far, -far)]
    bounded = [s for s in states if float(s.abs().max()) < far]
    within = [v for v in inputs if v.numel() == 0 or float(v.abs().max()) < far]
    pairs = [(s, v) for s in bounded for v in within]
    if not pairs:
        return y[:0], flat[:0]
    return torch.cat([s for s, _ in pairs]), torch.cat([v for _, v in pairs])


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else "no message"


def _shown(t: Tensor) -> str:
    flat = t.reshape(-1)
    text = ", ".join(f"{v:.6g}" for v in flat[:6].tolist())
    return f"[{text}]" if flat.numel() <= 6 else f"[{text}, ... {flat.numel()} numbers]"
