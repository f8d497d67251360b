"""What went wrong, in one line: what came, what is needed, what to do.

Every error the package raises on purpose derives from `EqTheoryError`. Input errors also derive from `ValueError`, so
code that catches the built-in class keeps working.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AdjointError",
    "BoundOrderError",
    "DomainError",
    "EqTheoryError",
    "GradientUnavailableError",
    "InputError",
    "MissingDependencyError",
    "NonFiniteError",
    "NotBoundedError",
    "ShapeError",
    "SolverError",
    "UnknownTheoremError",
]


class EqTheoryError(Exception):
    """The root of every error this package raises on purpose."""


class InputError(EqTheoryError, ValueError):
    """An argument is not usable.

    Args:
        argument: name of the offending argument as the caller wrote it.
        came: what was received, already short enough for one line.
        needed: the requirement it fails.
        remedy: what the caller can do about it.

    Example:
        >>> print(InputError("eta", "1.5", "0 < eta < 1", "pass for example eta=0.5"))
        eta: got 1.5, needed 0 < eta < 1; pass for example eta=0.5
    """

    def __init__(self, argument: str, came: str, needed: str, remedy: str) -> None:
        self.argument = argument
        self.came = came
        self.needed = needed
        self.remedy = remedy
        super().__init__(" ".join(f"{argument}: got {came}, needed {needed}; {remedy}".split()))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str, str]]:
        """Rebuild from the four parts, so the error crosses process borders whole.

        Returns:
            The class and its four arguments.
        """
        return type(self), (self.argument, self.came, self.needed, self.remedy)


class DomainError(InputError):
    """A point lies outside the set on which a map or a construction is defined."""


class ShapeError(InputError):
    """Tensors do not have the shapes an operation is defined for."""


class NonFiniteError(InputError):
    """An input holds NaN or an infinity."""


class BoundOrderError(EqTheoryError, ValueError):
    """A lower bound exceeds an upper bound: at least one of the two is wrong."""


class UnknownTheoremError(EqTheoryError, KeyError):
    """No theorem or control of that identifier is registered."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingDependencyError(EqTheoryError, ImportError):
    """An optional package is not installed.

    Args:
        package: the import name that was not found.
        extra: the optional group of this project that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(f"{package} is not installed; it is needed here: pip install 'eqtheory[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str, str]]:
        """Rebuild from its parts, so the error crosses process borders whole.

        Returns:
            The class and its arguments.
        """
        return type(self), (self.package, self.extra)


class NotBoundedError(EqTheoryError, ValueError):
    """No bound could be proved; nothing is said about whether there is one.

    Args:
        operation: what could not be bounded, by its name in the program.
        reason: why not.
        remedy: what the caller can do about it.

    Example:
        >>> print(NotBoundedError("aten.sqrt", "steep without bound at 0", "add a constant below the root"))
        aten.sqrt: steep without bound at 0; add a constant below the root
    """

    def __init__(self, operation: str, reason: str, remedy: str) -> None:
        self.operation, self.reason, self.remedy = operation, reason, remedy
        super().__init__(" ".join(f"{operation}: {reason}; {remedy}".split()))

    def __reduce__(self) -> tuple[type[NotBoundedError], tuple[str, str, str]]:
        """Rebuild from its parts, so the error crosses process borders whole.

        Returns:
            The class and its arguments.
        """
        return type(self), (self.operation, self.reason, self.remedy)


class GradientUnavailableError(EqTheoryError, RuntimeError):
    """A gradient was asked for where none is carried; returning zero silently would be wrong."""


class SolverError(EqTheoryError, RuntimeError):
    """At least one sample of a solve did not converge.

    Args:
        message: one line that counts the failed samples by status and says what to try.
        solution: the whole `Solution`, with everything that was computed.
    """

    def __init__(self, message: str, solution: Any) -> None:
        super().__init__(message)
        self.solution = solution

    def __reduce__(self) -> tuple[type[SolverError], tuple[str, Any]]:
        """Rebuild from its parts, so the error crosses process borders whole.

        Returns:
            The class and its arguments.
        """
        return type(self), (str(self), self.solution)


class AdjointError(EqTheoryError, RuntimeError):
    """The adjoint equation of a fixed point could not be solved, so the gradient that was asked for is not known.

    Args:
        message: one line that counts the failed samples by reason and says what to try.
        report: the whole `AdjointReport`.
    """

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[AdjointError], tuple[str, Any]]:
        """Rebuild from its parts, so the error crosses process borders whole.

        Returns:
            The class and its arguments.
        """
        return type(self), (str(self), self.report)
