r"""(R1) and (R2) attacked: the steepest pairs of states, and of inputs, that can be found.

**(R1)** at resolution `r`: no two states of the region have slope `1 - r` or more. Slopes below one that come arbitrarily close
to it are no uniform contraction (N1, `softplus`), and no finite computation tells `1 - 1e-9` from them; so the resolution is
part of the statement.

**(R2)** at budget `B`: no two inputs have slope above `B (1 + |y|)`; where `L0, L1` are declared, none above `L0 + L1 |y|`. The
map that is searched is `G(y, x) / w(y)` with the weight `w = 1 + |y|` or `L0 + L1 |y|`, over inputs, with states as parameters. Where
`L0 = L1 = 0` is declared, the weight is one, and every slope above zero refutes; where the weight is zero at a state alone, a small one
takes its place, which makes slopes smaller than they are.

Refutations are by pairs of values alone, so a wrong derivative can mislead the search and not the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Generator, Tensor

from eqtheory.auditing._judgement import (
    Flattened,
    KeepingRows,
    consistent,
    declared_bound,
    declared_budget,
    declared_factors,
    fading,
    pairs_only,
    shortened,
    surely_below_one,
    with_rows,
)
from eqtheory.auditing._laws import refuted
from eqtheory.auditing._proof import Proof
from eqtheory.auditing._subject import Subject, decades
from eqtheory.bounds import Bound, Bracket, Verdict, VerdictKind
from eqtheory.lipschitz import Search, Witnessed, steepest
from eqtheory.nests import spread

__all__ = ["DECLARED", "Attack", "attack_R1", "attack_R2"]

DECLARED = "the declared budget"
_NOTHING = "1 (a budget of zero is declared)"
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
        per: what the lower side is a multiple of: `1 + |y|`, or `DECLARED`, while the upper side is `L0` itself; empty where it is a slope,
            and a text that begins with 1 where it is one because a budget of zero is declared.
    """

    verdict: Verdict
    lower: Bound
    upper: Bound | None
    witness: Witnessed
    note: str = ""
    per: str = ""

    @property
    def bracket(self) -> Bracket | None:
        """Both sides, where there are both, speak of the same number and do not cross."""
        if self.upper is None or self.per == DECLARED or float(self.lower.value) > float(self.upper.value):
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

    def inside(y: Tensor, p: Tensor) -> Tensor:
        return subject.norm(y) + subject.input_norm(p[:, :-1]).to(y.dtype)

    how = replace(
        shortened(search, proof),
        region=subject.states,
        parameter_region=KeepingRows(subject.inputs),
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
    proved, note = consistent(lower, proof.mu)
    if proved is None and note:  # a proof for exact arithmetic against computed values decides neither way
        return Attack(Verdict(VerdictKind.NOT_REFUTED, trials, 1 - slope, method), lower, None, found, note)
    if slope >= 1 - resolution and not surely_below_one(proved):
        words = f"slopes of pairs, resolution {resolution:g}"
        verdict = refuted(found.at(0), words, trials=trials, margin=1 - slope)
        return Attack(verdict, lower, proved, found, note or fading(found))
    declared, claimed = declared_factors(subject, found), declared_bound(subject, "mu")
    if declared is not None:
        excess = found.values.to(torch.float64) - declared
        worst = int(excess.argmax())
        if float(excess[worst]) > 0:
            text = f"{found.at(worst)}, where {float(declared[worst]):.6g} is declared"
            verdict = refuted(
                text, "slopes of pairs against the declared factor", trials=trials, margin=-float(excess[worst])
            )
            return Attack(verdict, lower, proved, found, note)
    if proved is not None and surely_below_one(proved):
        if declared is None or claimed is None or float(proved.value) <= float(claimed.value) * (1 + 1e-9):
            return Attack(Verdict(VerdictKind.PROVED, trials, 1 - float(proved.value), proof.how), lower, proved, found)
        note = f"a factor of {float(proved.value):.6g} is proved, and {float(claimed.value):.6g} is declared"
        return Attack(Verdict(VerdictKind.NOT_REFUTED, trials, 1 - slope, method), lower, proved, found, note)
    return Attack(
        Verdict(VerdictKind.NOT_REFUTED, trials, 1 - slope, method), lower, proved or claimed, found, note or proof.why
    )


def attack_R2(subject: Subject, proof: Proof, budget: float, search: Search, generator: Generator) -> Attack | None:
    """Look for inputs that are driven apart, and say what slopes are measured against.

    Args:
        subject: what is audited.
        proof: what could be proved.
        budget: slopes above `budget (1 + |y|)` count as unbounded.
        search: how long to look.
        generator: source of randomness.

    Returns:
        The attack on (R2); `None` where an input has no coordinates.
    """
    found = _attacked_R2(subject, proof, budget, search, generator)
    per = {None: "1 + |y|", (0.0, 0.0): _NOTHING}.get(declared_budget(subject), DECLARED)
    return None if found is None else replace(found, per=per)


def _attacked_R2(subject: Subject, proof: Proof, budget: float, search: Search, generator: Generator) -> Attack | None:
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
    declared = declared_budget(subject)
    nothing = declared == (0.0, 0.0)
    shape = subject.y.shape

    def weight(y: Tensor) -> Tensor:
        size = subject.norm(y)
        if declared is None:
            return 1 + size
        if nothing:
            return torch.ones_like(size)
        w = declared[0] + declared[1] * size
        return torch.where(w > 0, w, torch.finfo(w.dtype).tiny ** 0.25)

    def scaled(flat: Tensor, p: Tensor) -> Tensor:
        y = p[:, :-1].reshape(-1, *shape[1:])
        value = wider.at(y, flat, p[:, -1])
        return value / spread(weight(y), value)

    def terms(flat: Tensor, p: Tensor) -> Tensor:
        y = p[:, :-1].reshape(-1, *shape[1:])
        return (subject.input_norm(flat) + subject.norm(y)) / weight(y)

    how = replace(
        search if proof.L0 is None else replace(search, rounds=min(2, search.rounds), steps=min(20, search.steps)),
        region=subject.inputs,
        parameter_region=KeepingRows(Flattened(subject, shape)),
        norm=subject.input_norm,
        output_norm=subject.norm,
        magnitude=terms,
        separation=_SEPARATION,
    )
    found = pairs_only(steepest(scaled, wider.flat, with_rows(wider), search=how, generator=generator))
    lower, trials = found.worst(), found.evaluations
    limit, words = (budget, f"{budget:g} (1 + |y|)") if declared is None else (0.0 if nothing else 1.0, DECLARED)
    # To a limit of zero there is no relative margin.
    margin = 0.0 - float(lower.value) if nothing else 1 - float(lower.value) / limit
    claimed = declared_bound(subject, "L0")
    proved, note = consistent(lower, proof.L0) if declared is None else (proof.L0, "")
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
