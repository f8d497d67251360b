"""What an operator provably is, and what it is not: the laws, (R1), (R2), derivatives, growth, iterations, solvers.

Every check ends in a verdict: `proved` by this package, `refuted` with a witness, or `not refuted` with the number of trials.
Nothing is proved of an operator that breaks a law, since a proof is about a function, and it is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.auditing import _laws as laws
from eqtheory.auditing._attack import Attack, attack_R1, attack_R2
from eqtheory.auditing._gradients import derivative, fixed_point_derivative
from eqtheory.auditing._iterations import Iterations, Race, iterations_needed, race
from eqtheory.auditing._proof import Proof, prove
from eqtheory.auditing._provenance import provenance
from eqtheory.auditing._subject import Sampler, Subject, subject_of
from eqtheory.bounds import Verdict, VerdictKind
from eqtheory.errors import EqTheoryError
from eqtheory.lipschitz import Curve, Search, curve
from eqtheory.norms import Norm
from eqtheory.operators import ImplicitOperator
from eqtheory.roundoff import unit_roundoff
from eqtheory.validate import open_unit, positive

__all__ = ["CHECKS", "Audit", "audit"]

CHECKS = {
    "finite": "finite values at finite arguments",
    "shape": "states are mapped to states",
    "deterministic": "equal arguments give equal results, and are left alone",
    "batch_independent": "a sample's result does not depend on its company",
    "R1": "(R1) contractive in the state, uniformly",
    "R2": "(R2) simple in the input",
    "gradient": "derivatives of G are those of its values",
    "fixed_point_gradient": "derivatives of the fixed point are those of its values",
}
"""The checks, in their order, and what they say."""

_ROUNDINGS = 2048
"""Slopes are not told from one by less than so many unit roundoffs; in float64 that is far below any resolution asked for."""

_LAWS = ("finite", "shape", "deterministic", "batch_independent")


@final
@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit has come to.

    Args:
        name: of the operator.
        verdicts: one for each of `CHECKS`.
        R1: slopes in the state, where they were looked at.
        R2: slopes in the input.
        growth: slopes of Picard's iterates over the iterations; `None` where they could not be had.
        iterations: how many Picard iterations accuracies need.
        solvers: the race, the best one first.
        norms: names of the norms of states and inputs.
        notes: what else was seen.
        made: seed, samples, versions, commit.
    """

    name: str
    verdicts: dict[str, Verdict]
    R1: Attack | None
    R2: Attack | None
    growth: Curve | None
    iterations: tuple[Iterations, ...]
    solvers: tuple[Race, ...]
    norms: tuple[str, str]
    notes: tuple[str, ...]
    made: dict[str, Any]

    @property
    def conclusion(self) -> str:
        """One line: is it a regular operator?"""
        broken = [check for check, verdict in self.verdicts.items() if verdict.kind is VerdictKind.REFUTED]
        if broken:
            return f"refuted: {', '.join(broken)}"
        if all(self.verdicts[check].kind is VerdictKind.PROVED for check in ("R1", "R2")):
            return "regular: (R1) and (R2) are proved"
        return "not refuted"

    def __str__(self) -> str:
        from eqtheory.auditing.report import as_text

        return as_text(self)

    def to_dict(self) -> dict[str, Any]:
        """The audit as plain values, for JSON.

        Returns:
            Strings, numbers, lists and mappings; what is not finite is `None`.
        """
        from eqtheory.auditing.report import as_dict

        return as_dict(self)

    def to_html(self) -> str:
        """The audit as one page that needs nothing but itself.

        Returns:
            A whole HTML document, with plots where matplotlib is installed.
        """
        from eqtheory.auditing.report import as_page

        return as_page(self)


def audit(
    operator: ImplicitOperator | Callable[[Tensor, Any], Tensor],
    sampler: Sampler | tuple[Tensor, Any],
    *,
    samples: int = 256,
    domain: Any = None,
    norm: Norm | None = None,
    resolution: float = 1e-6,
    budget: float = 1e6,
    steps: int = 50,
    search: Search | None = None,
    generator: Generator | None = None,
    name: str = "",
) -> Audit:
    """Find out what an operator provably is, and what it is not.

    Args:
        operator: an operator, a plain function or a module of signature `(y, x) -> y`: an equilibrium layer, a denoiser `(y, sigma) -> y`.
        sampler: `(n, generator) -> (y, x)`, states and the inputs that belong to them, or a pair of both.
        samples: how many to draw.
        domain: `(states, inputs)`, what the audit speaks about: each a region, a pair `(low, high)`, or `None` for the box of the samples.
            Inputs are flattened. Proofs that need limits of the entries use a domain that was given, and no other.
        norm: norm on the states; the operator's own by default.
        resolution: slopes in the state from `1 - resolution` on are no uniform contraction, unless a factor below one is proved; at
            least 2048 unit roundoffs of the states' type (1.2e-4 in float32; half precision has no such resolution, and a note says
            so).
        budget: slopes in the input above `budget (1 + |y|)` are no budget.
        steps: of the growth curve.
        search: how long to look for steep places.
        generator: source of randomness; seeded with 0 where `None`.
        name: how reports call the operator.

    Returns:
        The verdicts with their witnesses, bounds, the growth curve, iterations for accuracies and the best solver.

    Raises:
        InputError: unusable arguments.
        ShapeError: states and inputs do not share the batch axis.

    Theorem: T1, T2, T4.

    Example:
        >>> import torch
        >>> def sampler(n, generator):
        ...     return torch.randn(n, 2, generator=generator), torch.randn(n, 2, generator=generator)
        >>> found = audit(lambda y, x: 0.5 * torch.tanh(y) + x, sampler, samples=32)
        >>> found.verdicts["R1"].kind.value, round(float(found.R1.upper.value), 6)
        ('proved', 0.5)
    """
    with (
        torch.inference_mode(mode=False),
        torch.random.fork_rng(devices=[]),
    ):  # operators may draw; nobody else's draws are to change by that
        return _audited(operator, sampler, samples, domain, norm, resolution, budget, steps, search, generator, name)


def _audited(
    operator: Any,
    sampler: Sampler | tuple[Tensor, Any],
    samples: int,
    domain: Any,
    norm: Norm | None,
    resolution: float,
    budget: float,
    steps: int,
    search: Search | None,
    generator: Generator | None,
    name: str,
) -> Audit:
    open_unit("resolution", resolution)
    positive("budget", budget)
    source = generator or torch.Generator().manual_seed(0)
    seed = _seed(source)
    subject = subject_of(operator, sampler, samples, domain, norm, source)
    resolution, coarse = _told_apart(resolution, subject.y.dtype)
    called = name or getattr(operator, "__qualname__", type(operator).__qualname__)
    verdicts, clean = _look_at_laws(subject)
    R1 = R2 = None
    growth: Curve | None = None
    iterations: tuple[Iterations, ...] = ()
    solvers: tuple[Race, ...] = ()
    notes: list[str] = []
    if clean is None:
        for check in list(CHECKS)[len(_LAWS) :]:
            verdicts[check] = laws.not_looked_at("a law of operators is broken")
    else:
        with torch.no_grad():
            before = clean.G(clean.y.clone(), clean.x)
        sound = verdicts["finite"].kind is not VerdictKind.REFUTED
        proof = prove(clean) if sound else Proof(why="values are not finite everywhere")
        how = search or Search()
        R1 = attack_R1(clean, proof, resolution, how, source)
        R2 = attack_R2(clean, proof, budget, how, source)
        verdicts["R1"] = R1.verdict
        verdicts["R2"] = laws.not_looked_at("the input has no coordinates") if R2 is None else R2.verdict
        verdicts["gradient"] = derivative(clean, source)
        verdicts["fixed_point_gradient"] = fixed_point_derivative(clean, source)
        notes = [note for note in dict.fromkeys((coarse, R1.note, "" if R2 is None else R2.note)) if note]
        growth, said = _growth(clean, steps)
        notes += said
        if growth is not None:
            mu = R1.upper if R1.verdict.kind is not VerdictKind.REFUTED else None
            iterations = iterations_needed(clean, mu, growth.residual)
        solvers = race(clean)
        if not laws.unchanged(clean, before):
            witness = "the values of the samples at the end of the audit are not those at its beginning"
            verdicts["deterministic"] = laws.refuted(witness, "first and last call", trials=len(clean.y))
            for check in list(CHECKS)[len(_LAWS) :]:
                verdicts[check] = laws.not_looked_at("results change while the operator is used")
    made = provenance(samples=len(subject.y), seed=seed, resolution=resolution, budget=budget, steps=steps)
    norms = (subject.norm.name, subject.input_norm.name)
    return Audit(called, verdicts, R1, R2, growth, iterations, solvers, norms, tuple(notes), made)


def _told_apart(resolution: float, dtype: torch.dtype) -> tuple[float, str]:
    """The resolution in a type, in which smaller ones than `_ROUNDINGS` unit roundoffs would let isometries pass.

    Half precision is so coarse that this would be one or more, and every contraction be refuted. There only slopes that reach
    `1 - resolution` after rounding was taken off refute, which are certified in any type, and isometries do pass.

    Returns:
        The resolution, and what has to be said about it.
    """
    finest = _ROUNDINGS * unit_roundoff(dtype)
    if finest < 1:
        return max(resolution, finest), ""
    name = str(dtype).removeprefix("torch.")
    return (
        resolution,
        f"slopes a little above one pass in {name}, where rounding explains them: audit a copy in float32",
    )


def _look_at_laws(subject: Subject) -> tuple[dict[str, Verdict], Subject | None]:
    """Verdicts on the laws, and the samples the rest can be asked of.

    Returns:
        The verdicts, and `None` where nothing else makes sense.
    """
    verdicts = {check: laws.not_looked_at("the shape is wrong") for check in _LAWS}
    verdicts["shape"] = laws.shape(subject)
    if verdicts["shape"].kind is VerdictKind.REFUTED:
        return verdicts, None
    verdicts["finite"], usable = laws.finite(subject)
    if not bool(usable.any()):
        for check in ("deterministic", "batch_independent"):
            verdicts[check] = laws.not_looked_at("no sample has finite values")
        return verdicts, None
    clean = subject.keep(usable)
    verdicts["deterministic"] = laws.deterministic(clean)
    if verdicts["deterministic"].kind is VerdictKind.REFUTED:
        verdicts["batch_independent"] = laws.not_looked_at("results change from call to call")
        return verdicts, None
    verdicts["batch_independent"] = laws.batch_independent(clean)
    return verdicts, None if verdicts["batch_independent"].kind is VerdictKind.REFUTED else clean


def _growth(subject: Subject, steps: int) -> tuple[Curve | None, list[str]]:
    some = subject.keep(torch.arange(subject.y.shape[0], device=subject.y.device) < 16)
    others = [some.y.roll(1, dims=0)] if len(some.y) > 1 else []
    try:
        found = curve(some.G, some.x, steps, y0=some.y, input_norm=some.input_norm, other_starts=others)
    except (EqTheoryError, RuntimeError, NotImplementedError) as error:
        return None, [f"no growth curve: {str(error).splitlines()[0][:160]}"]
    return found, [str(finding) for finding in found.findings]


def _seed(source: Generator) -> int | None:
    """The seed, where the generator is as fresh as it was seeded.

    Returns:
        The seed, `None` where numbers have been drawn already and it would reproduce nothing.
    """
    seed = source.initial_seed()
    fresh = torch.Generator(device=source.device).manual_seed(seed).get_state()
    return seed if torch.equal(fresh, source.get_state()) else None
