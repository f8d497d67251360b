r"""(R1) and (R2) attacked: the steepest pairs of states, and of inputs, that can be found.

**(R1)** at resolution `r`: no two states of the region have slope `1 - r` or more. Slopes below one that come arbitrarily close
to it are no uniform contraction (N1, `softplus`), and no finite computation tells `1 - 1e-9` from them; so the resolution is
part of the statement.

**(R2)** at budget `B`: no two inputs have slope above `B (1 + |y|)`; where `L0, L1` are declared, none above `L0 + L1 |y|`. The
map that is searched is `G(y, x) / w(y)` with the weight `w = 1 + |y|` or `L0 + L1 |y|`, over inputs, with states as parameters.

Refutations are by pairs of values alone, so a wrong derivative can mislead the search and not the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.auditing._laws import refuted
from eqtheory.auditing._proof import Proof
from eqtheory.auditing._subject import Subject, decades
from eqtheory.bounds import Bound, Bracket, Side, Verdict, VerdictKind
from eqtheory.lipschitz import Region, Search, Witnessed, steepest
from eqtheory.nests import spread, tensors
from eqtheory.norms import rows_of
from eqtheory.roundoff import unit_roundoff

__all__ = ["Attack", "attack_R1", "attack_R2"]

_SEPARATION = 1e-14


@final
@dataclass(frozen=True, eq=False)
class Attack:
    """What an attack has come to.

    Args:
        verdict: on the property.
        lower: the largest certified slope, of pairs.
        upper: what is proved or declared, if anything.
        witness: the pairs, the steepest first.
        note: one line on what else was seen.
    """

    verdict: Verdict
    lower: Bound
    upper: Bound | None
    witness: Witnessed
    note: str = ""

    @property
    def bracket(self) -> Bracket | None:
        """Both sides, where there are both and they do not cross."""
        if self.upper is None or float(self.lower.value) > float(self.upper.value):
            return None
        return Bracket(self.lower, self.upper)


def attack_R1(subject: Subject, proof: Proof, resolution: float, search: Search, generator: Generator) -> Attack:
    """Look for states that are not brought together.

    Args:
        subject: what is audited.
        proof: what could be proved.
        resolution: slopes from `1 - resolution` on count as not contractive.
        search: how long to look.
        generator: source of randomness.

    Returns:
        The attack on (R1).
    """
    wider = decades(subject, generator)
    coarser = _coarseness(subject)

    def inside(y: Tensor, p: Tensor) -> Tensor:
        return coarser * (subject.norm(y) + subject.input_norm(p[:, :-1]).to(y.dtype))

    how = replace(
        _shortened(search, proof),
        region=subject.states,
        parameter_region=_KeepingRows(subject.inputs),
        norm=subject.norm,
        rounding=subject.rounding,
        separation=_SEPARATION,
        magnitude=inside,
    )
    parameters = torch.cat([wider.flat.to(wider.y.dtype), wider.rows.to(wider.y.dtype)], dim=1)

    def at(y: Tensor, p: Tensor) -> Tensor:
        return wider.at(y, p[:, :-1], p[:, -1])

    found = pairs_only(steepest(at, wider.y, parameters, search=how, generator=generator))
    lower, trials = found.worst(), found.evaluations
    slope, method = float(lower.value), "search by pairs, points and halving"
    proved, note = _consistent(lower, proof.mu)
    if proved is None and note:  # a proof for exact arithmetic against computed values decides neither way
        return Attack(Verdict(VerdictKind.NOT_REFUTED, trials, 1 - slope, method), lower, None, found, note)
    if slope >= 1 - resolution and not _surely_below_one(proved):
        words = f"slopes of pairs, resolution {resolution:g}"
        verdict = refuted(found.at(0), words, trials=trials, margin=1 - slope)
        return Attack(verdict, lower, proved, found, note or _fading(found))
    declared, claimed = _declared_factors(subject, found), _declared(subject, "mu")
    if declared is not None:
        excess = found.values.to(torch.float64) - declared
        worst = int(excess.argmax())
        if float(excess[worst]) > 0:
            text = f"{found.at(worst)}, where {float(declared[worst]):.6g} is declared"
            verdict = refuted(
                text, "slopes of pairs against the declared factor", trials=trials, margin=-float(excess[worst])
            )
            return Attack(verdict, lower, proved, found, note)
    if proved is not None and _surely_below_one(proved):
        if declared is None or claimed is None or float(proved.value) <= float(claimed.value) * (1 + 1e-9):
            return Attack(Verdict(VerdictKind.PROVED, trials, 1 - float(proved.value), proof.how), lower, proved, found)
        note = f"a factor of {float(proved.value):.6g} is proved, and {float(claimed.value):.6g} is declared"
        return Attack(Verdict(VerdictKind.NOT_REFUTED, trials, 1 - slope, method), lower, proved, found, note)
    return Attack(
        Verdict(VerdictKind.NOT_REFUTED, trials, 1 - slope, method), lower, proved or claimed, found, note or proof.why
    )


def attack_R2(subject: Subject, proof: Proof, budget: float, search: Search, generator: Generator) -> Attack | None:
    """Look for inputs that are driven apart.

    Args:
        subject: what is audited.
        proof: what could be proved.
        budget: slopes above `budget (1 + |y|)` count as unbounded.
        search: how long to look.
        generator: source of randomness.

    Returns:
        The attack on (R2); `lower` is the largest slope over `1 + |y|`, or over what is declared. `None` where an input has no coordinates.
    """
    if subject.flat.shape[1] == 0:
        return None
    wider = decades(subject, generator)
    declared = _declared_budget(subject)
    shape = subject.y.shape

    def weight(y: Tensor) -> Tensor:
        size = subject.norm(y)
        return 1 + size if declared is None else declared[0] + declared[1] * size

    def scaled(flat: Tensor, p: Tensor) -> Tensor:
        y = p[:, :-1].reshape(-1, *shape[1:])
        value = wider.at(y, flat, p[:, -1])
        w = weight(y)
        return value / spread(torch.where(w > 0, w, torch.finfo(w.dtype).tiny), value)

    coarser = _coarseness(subject)

    def terms(flat: Tensor, p: Tensor) -> Tensor:
        y = p[:, :-1].reshape(-1, *shape[1:])
        return coarser * (subject.input_norm(flat) + subject.norm(y)) / weight(y).clamp_min(torch.finfo(y.dtype).tiny)

    how = replace(
        search if proof.L0 is None else replace(search, rounds=min(2, search.rounds), steps=min(20, search.steps)),
        region=subject.inputs,
        parameter_region=_KeepingRows(_Flattened(subject, shape)),
        norm=subject.input_norm,
        output_norm=subject.norm,
        magnitude=terms,
        separation=_SEPARATION,
    )
    found = pairs_only(steepest(scaled, wider.flat, _with_rows(wider), search=how, generator=generator))
    lower, trials = found.worst(), found.evaluations
    limit, words = (budget, f"{budget:g} (1 + |y|)") if declared is None else (1.0, "the declared budget")
    margin, claimed = 1 - float(lower.value) / limit, _declared(subject, "L0")
    proved, note = _consistent(lower, proof.L0) if declared is None else (proof.L0, "")
    method = f"search by pairs, points and halving, against {words}"
    if proved is None and note:  # a proof for exact arithmetic against computed values decides neither way
        return Attack(Verdict(VerdictKind.NOT_REFUTED, trials, margin, method), lower, None, found, note)
    if float(lower.value) > limit:
        state = found.parameters[:1, :-1].reshape(1, *shape[1:])
        slope = float(lower.value) * float(weight(state))
        where = found.at(0).partition(" between ")[2] or found.at(0)
        text = f"inputs {where} at |y| = {float(subject.norm(state)):.4g}: slope {slope:.6g}"
        return Attack(
            refuted(text, f"slopes of pairs against {words}", trials=trials, margin=margin), lower, None, found, note
        )
    allowed = budget if declared is None else declared[0]
    if proved is not None and float(proved.value) <= allowed * (1 + 1e-9):
        return Attack(Verdict(VerdictKind.PROVED, trials, margin, proof.how), lower, proved, found)
    if proved is not None:
        note = f"a budget of {float(proved.value):.6g} is proved, and {allowed:.6g} is asked for"
    return Attack(Verdict(VerdictKind.NOT_REFUTED, trials, margin, method), lower, claimed, found, note or proof.why)


def pairs_only(found: Witnessed) -> Witnessed:
    """Drop what rests on derivatives.

    Args:
        found: rows of a search; where both points coincide a derivative was taken.

    Returns:
        The pairs, the steepest first; one flat pair where there is none.
    """
    if found.b is None:
        return found
    distinct = (found.a != found.b).reshape(found.a.shape[0], -1).any(dim=1)
    rows = distinct.nonzero().reshape(-1)
    if len(rows) == 0:
        return replace(found, bound=replace(found.bound, value=torch.zeros_like(found.values)))
    return replace(
        found,
        bound=replace(
            found.bound,
            value=found.values[rows],
            assumptions=("evaluations err by at most 64 unit roundoffs of value and arguments",),
        ),
        a=found.a[rows],
        b=found.b[rows],
        parameters=found.parameters[rows],
    )


@final
class _KeepingRows(Region):
    """Parameters whose last column says which sample they belong to, and stays."""

    def __init__(self, inner: Region) -> None:
        self.inner = inner

    def project(self, x: Tensor) -> Tensor:
        """Project all but the last column.

        Args:
            x: parameters, shape `(batch, k + 1)`.

        Returns:
            The nearest ones.
        """
        return torch.cat([self.inner.project(x[:, :-1]) if x.shape[1] > 1 else x[:, :-1], x[:, -1:]], dim=1)


def _with_rows(subject: Subject) -> Tensor:
    return torch.cat([rows_of(subject.y), subject.rows.to(subject.y.dtype)], dim=1)


def _coarseness(subject: Subject) -> float:
    """By how much the narrowest type involved is coarser than that of the states.

    Returns:
        A factor, at least 1.
    """
    kinds = {t.dtype for _, t in tensors(subject.x) if t.dtype.is_floating_point} | {subject.y.dtype}
    return max(unit_roundoff(kind) for kind in kinds) / min(unit_roundoff(kind) for kind in kinds)


def _shortened(search: Search, proof: Proof) -> Search:
    """Where a proof decides, the search only says how good it is.

    Returns:
        The search, or a shorter one.
    """
    if proof.mu is None or not _surely_below_one(proof.mu):
        return search
    return replace(search, rounds=min(2, search.rounds), steps=min(20, search.steps))


def _surely_below_one(bound: Bound | None) -> bool:
    return bound is not None and float(bound.value) < 1 - 2.0**-40


@final
class _Flattened(Region):
    """A region of states, for states written as vectors."""

    def __init__(self, subject: Subject, shape: torch.Size) -> None:
        self.inner, self.shape = subject.states, shape

    def project(self, x: Tensor) -> Tensor:
        """Project the states.

        Args:
            x: states as vectors.

        Returns:
            The nearest ones.
        """
        return rows_of(self.inner.project(x.reshape(-1, *self.shape[1:])))


def _consistent(lower: Bound, upper: Bound | None) -> tuple[Bound | None, str]:
    """Believe a proof unless a pair contradicts it, which happens where a program rounds inside (a proof is about exact arithmetic).

    Returns:
        The upper bound, `None` where it is contradicted, and a note on it.
    """
    if upper is None or float(lower.value) <= float(upper.value) * (1 + 1e-9):
        return upper, ""
    note = (
        f"a pair of computed values has slope {float(lower.value):.6g}, where {float(upper.value):.6g} is proved for exact arithmetic: "
        "the program rounds coarsely inside (a narrower type?), or one of the two is wrong"
    )
    return None, note


def _declared(subject: Subject, which: str) -> Bound | None:
    if subject.G.regularity is None:
        return None
    bound: Any = getattr(subject.G.regularity, which)
    usable = isinstance(bound, Bound) and bound.side in (Side.UPPER, Side.EXACT) and not isinstance(bound.value, Tensor)
    return bound if usable else None


def _declared_factors(subject: Subject, found: Witnessed) -> Tensor | None:
    """Declared factors at the inputs of the pairs, raised by what rounding may add.

    Returns:
        Shape `(pairs,)`, or `None` where none are declared.
    """
    declared = subject.G.regularity
    if declared is None or declared.mu.side not in (Side.UPPER, Side.EXACT):
        return None
    rows = found.parameters[:, -1].round().long() % subject.y.shape[0]  # samples were doubled
    value = torch.as_tensor(declared.mu.at(subject.raveled.nest(found.parameters[:, :-1], rows)), dtype=torch.float64)
    return value.reshape(-1).expand(found.parameters.shape[0]) * (1 + 1e-9)


def _declared_budget(subject: Subject) -> tuple[float, float] | None:
    declared = subject.G.regularity
    if declared is None:
        return None
    bounds = (declared.L0, declared.L1)
    if any(
        b.side not in (Side.UPPER, Side.EXACT) or (isinstance(b.value, Tensor) and b.value.numel() != 1) for b in bounds
    ):
        return None
    values = tuple(float(b.value) for b in bounds)
    if not all(v < float("inf") for v in values) or sum(values) == 0:
        return None
    return values[0] * (1 + 1e-9), values[1] * (1 + 1e-9)


def _fading(found: Witnessed) -> str:
    """Whether factors below one were seen to approach one, rather than to exceed it.

    Returns:
        A sentence, or nothing.
    """
    if float(found.values[0]) >= 1 or found.parameters.shape[1] == 1:
        return ""
    where = ", ".join(f"{v:.3g}" for v in found.parameters[0][:-1][:4].tolist())
    return (
        f"no pair expands, but the factor comes within {1 - float(found.values[0]):.1e} of 1 at x = [{where}]: "
        "it may not be bounded away from one locally (N1), and no fixed number of iterations then serves all inputs"
    )
