"""The vocabulary of the registry: what a theorem says, where it comes from, and how it can fail.

Pure data and pure arithmetic. An inequality works on anything with `+ - * / **`: rationals, balls, tensors, symbols. No
numerical library is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["Control", "Hypothesis", "Inequality", "Source", "Theorem", "inequality"]


class Source(Enum):
    """Who a statement is to be credited to."""

    PAPER = "paper"
    CLASSICAL = "classical"
    HERE = "this project"


@dataclass(frozen=True)
class Inequality:
    """One inequality `lhs <= rhs`, written once and used by the checks, the solvers and the documentation alike.

    Args:
        name: identifier, unique within its theorem.
        statement: the formula in plain text.
        sides: keyword arguments to the pair `(lhs, rhs)`.

    Example:
        >>> from fractions import Fraction
        >>> contraction.margin(gap_after=Fraction(1), gap_before=Fraction(2), mu=Fraction(1, 2))
        Fraction(0, 1)
    """

    name: str
    statement: str
    sides: Callable[..., tuple[Any, Any]]

    def margin(self, **quantities: Any) -> Any:
        """Right side minus left side: negative means violated, zero means attained.

        Args:
            quantities: the quantities the formula names, all of one number type.

        Returns:
            The margin, in the number type that came in.
        """
        lhs, rhs = self.sides(**quantities)
        return rhs - lhs


def inequality(statement: str) -> Callable[[Callable[..., tuple[Any, Any]]], Inequality]:
    """Turn a function that returns `(lhs, rhs)` into an `Inequality` of its name.

    Args:
        statement: the formula in plain text.

    Returns:
        The decorator.
    """
    return lambda sides: Inequality(sides.__name__, statement, sides)


@dataclass(frozen=True)
class Hypothesis:
    """One hypothesis, and what shows that it cannot be dropped.

    Args:
        statement: the hypothesis.
        control: identifier of the control that fails without it; empty where the theorem is vacuous without it.
    """

    statement: str
    control: str = ""


@dataclass(frozen=True)
class Theorem:
    """One theorem of the registry.

    Args:
        id: short identifier such as `T3`.
        slug: file-name form of the title.
        title: a few words.
        hypotheses: what is assumed.
        conclusion: what follows.
        source: who to credit.
        credit: the sentence that says what exactly comes from where.
        proof: the argument, short but complete.
        inequalities: the conclusion as arithmetic.
        sharp: the instance that attains the bound.
        constructions: dotted names of the library objects the theorem licenses.
        references: works to cite, BibTeX keys of `BIBLIOGRAPHY`.
    """

    id: str
    slug: str
    title: str
    hypotheses: tuple[Hypothesis, ...]
    conclusion: str
    source: Source
    credit: str
    proof: str
    inequalities: tuple[Inequality, ...]
    sharp: str
    constructions: tuple[str, ...] = ()
    references: tuple[str, ...] = field(default=())

    @property
    def check(self) -> str:
        """Path of the check, relative to the root of the repository."""
        return f"proofs_check/test_{self.slug.replace('-', '_')}.py"


@dataclass(frozen=True)
class Control:
    """A negative control: drop one hypothesis and watch the conclusion fail as predicted.

    Args:
        id: short identifier such as `N1`.
        slug: file-name form of the title.
        title: a few words.
        theorems: identifiers of the theorems it guards.
        drops: the hypothesis that is missing.
        instance: the counterexample.
        prediction: what must be observed.
        source: who to credit.
    """

    id: str
    slug: str
    title: str
    theorems: tuple[str, ...]
    drops: str
    instance: str
    prediction: str
    source: Source = Source.HERE


@inequality("|G(y1,x) - G(y2,x)| <= mu(x) |y1 - y2|")
def contraction(*, gap_after: Any, gap_before: Any, mu: Any) -> tuple[Any, Any]:
    """(R1) The operator contracts in the state."""
    return gap_after, mu * gap_before


@inequality("|G(y,x) - G(y,x')| <= (L0 + L1 |y|) d(x,x')")
def simplicity(*, gap: Any, state_norm: Any, delta: Any, L0: Any, L1: Any) -> tuple[Any, Any]:
    """(R2) The operator is simple in the input."""
    return gap, (L0 + L1 * state_norm) * delta
