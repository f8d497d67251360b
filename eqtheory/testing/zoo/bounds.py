"""Wrong bounds on what iterations can compute: each changes one thing in an inequality of the registry.

A wrong bound takes the quantities of the inequality it imitates and returns the two sides it claims. Honest and wrong bounds
are compared on the same instances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eqtheory.theorems import Inequality
from eqtheory.theorems.arrival import arrival
from eqtheory.theorems.averaged_growth import averaged_growth, averaged_step, signed_growth
from eqtheory.theorems.growth import geometric_growth, linear_growth, one_step, quadratic_growth, size_growth
from eqtheory.theorems.imaging import (
    data_stability,
    half_quadratic_budget,
    half_quadratic_contraction,
    half_quadratic_simplicity,
    proximal_gradient_contraction,
    proximal_gradient_simplicity,
    proximal_step,
    stability,
)
from eqtheory.theorems.levelling_off import jacobian_step, levelling_off
from eqtheory.theorems.price import constant_step_error, price_of_slope

__all__ = ["BROKEN_BOUNDS", "BrokenBound", "broken_bounds"]


@dataclass(frozen=True)
class BrokenBound:
    """An inequality that looks like one of the registry and is false.

    Args:
        name: what was changed.
        theorem: identifier of the theorem it imitates.
        about: name of the inequality whose quantities it takes.
        sides: those quantities to the pair `(lhs, rhs)` it claims.
    """

    name: str
    theorem: str
    about: str
    sides: Callable[..., tuple[Any, Any]]


def _changed(name: str, theorem: str, honest: Inequality, **changes: Callable[[dict[str, Any]], Any]) -> BrokenBound:
    """Make a wrong bound from an honest one by changing some of its quantities.

    Args:
        name: what is changed.
        theorem: identifier of the theorem.
        honest: the inequality.
        changes: for each changed quantity, its value from all the true ones.

    Returns:
        The wrong bound.
    """

    def sides(**true: Any) -> tuple[Any, Any]:
        return honest.sides(**{**true, **{key: change(true) for key, change in changes.items()}})

    return BrokenBound(name, theorem, honest.name, sides)


def _t4() -> tuple[BrokenBound, ...]:
    return (
        _changed("L0 dropped", "T4", linear_growth, L0=lambda q: 0 * q["L0"]),
        _changed("L1 dropped", "T4", linear_growth, L1=lambda q: 0 * q["L1"]),
        _changed("one step short", "T4", linear_growth, steps=lambda q: q["steps"] - 1),
        _changed("slope of the start forgotten", "T4", geometric_growth, start_slope=lambda q: 0 * q["start_slope"]),
        _changed("m off by 1%", "T4", geometric_growth, mu=lambda q: 0.99 * q["mu"]),
        _changed(
            "last step contracted as well", "T4", geometric_growth, accumulated=lambda q: q["mu"] * q["accumulated"]
        ),
        _changed("linear although iterates grow", "T4", quadratic_growth, image_of_zero=lambda q: 0 * q["L1"]),
        BrokenBound(
            "t (t-1)/2 taken for (t-1)^2/2",
            "T4",
            "quadratic_growth",
            lambda *, steps, **q: (
                q["slope"],
                quadratic_growth.sides(steps=steps, **q)[1] - q["L1"] * q["image_of_zero"] * (steps - 1) / 2,
            ),
        ),
        _changed("size and factor at the same input", "T4", one_step, mu_other=lambda q: q["mu_other"].flip(-1)),
        _changed("iterates never leave the start's ball", "T4", size_growth, image_of_zero=lambda q: 0 * q["steps"]),
    )


def _t4b() -> tuple[BrokenBound, ...]:
    return (
        _changed("L0 dropped", "T4b", averaged_growth, L0=lambda q: 0 * q["L0"]),
        _changed("L1 dropped", "T4b", averaged_growth, L1=lambda q: 0 * q["L1"]),
        _changed("slope of the start forgotten", "T4b", averaged_growth, start_slope=lambda q: 0 * q["start_slope"]),
        _changed(
            "weight of the images 1% smaller", "T4b", averaged_growth, total_weight=lambda q: 0.99 * q["total_weight"]
        ),
        _changed("weights squared", "T4b", averaged_step, weight=lambda q: q["weight"] ** 2),
        _changed("kept states forgotten", "T4b", averaged_step, kept=lambda q: 0 * q["kept"]),
        _changed("m off by 1%", "T4b", averaged_step, mu=lambda q: 0.99 * q["mu"]),
        _changed("signed weights gain t only", "T4b", signed_growth, steps=lambda q: q["steps"] ** 0.5),
        _changed("signed weights without the bound on r_t", "T4b", signed_growth, amplification=lambda _: 1.0),
    )


def _t5() -> tuple[BrokenBound, ...]:
    def larger(q: dict[str, Any]) -> Any:
        return (q["error"] + q["error_other"] + abs(q["error"] - q["error_other"])) / 2

    return (
        _changed("both errors forgotten", "T5", arrival, error=lambda q: 0 * q["error"], error_other=lambda _: 0),
        _changed("one of the two errors", "T5", arrival, error_other=lambda _: 0),
        _changed("the larger of the two errors", "T5", arrival, error=larger, error_other=lambda _: 0),
        _changed("slope 1% smaller", "T5", arrival, slope=lambda q: 0.99 * q["slope"]),
        _changed("errors measured after one more step", "T5", arrival, error=lambda q: q["error"] / 2),
        BrokenBound(
            "the limit bounds its iterates from above",
            "T5",
            "arrival",
            lambda *, target_gap, slope, delta, error, error_other: (slope * delta, target_gap + error + error_other),
        ),
    )


def _t5b() -> tuple[BrokenBound, ...]:
    def wrong_power(shift: int) -> Callable[..., tuple[Any, Any]]:
        def sides(**q: Any) -> tuple[Any, Any]:
            first = q["mu"] ** q["steps"] * q["start_error"]
            rate = (q["alpha"] * q["jacobian"] + q["beta"]) * q["start_state_error"]
            return q["jacobian_error"], first + (q["steps"] if shift else 1) * q["mu"] ** (
                q["steps"] - 1 + shift
            ) * rate

        return sides

    return (
        BrokenBound("t forgotten", "T5b", "levelling_off", wrong_power(0)),
        BrokenBound("mu^t for mu^(t-1)", "T5b", "levelling_off", wrong_power(1)),
        _changed("alpha dropped", "T5b", levelling_off, alpha=lambda q: 0 * q["alpha"]),
        _changed("beta dropped", "T5b", levelling_off, beta=lambda q: 0 * q["beta"]),
        _changed("plain geometric rate", "T5b", levelling_off, start_state_error=lambda q: 0 * q["start_state_error"]),
        _changed(
            "error of the first Jacobian forgotten", "T5b", levelling_off, start_error=lambda q: 0 * q["start_error"]
        ),
        _changed("mu off by 1%", "T5b", levelling_off, mu=lambda q: 0.99 * q["mu"]),
        _changed("state already converged", "T5b", jacobian_step, state_error=lambda q: 0 * q["state_error"]),
    )


def _t6() -> tuple[BrokenBound, ...]:
    return (
        _changed("error counted at one point only", "T6", price_of_slope, error=lambda q: q["error"] / 2),
        _changed("errors forgotten", "T6", price_of_slope, error=lambda q: 0 * q["error"]),
        _changed("slope of the start forgotten", "T6", price_of_slope, start_slope=lambda q: 0 * q["start_slope"]),
        _changed("L1 dropped", "T6", price_of_slope, L1=lambda q: 0 * q["L1"]),
        _changed("budget 1% smaller", "T6", price_of_slope, L0=lambda q: 0.99 * q["L0"], L1=lambda q: 0.99 * q["L1"]),
        _changed("one step fewer", "T6", price_of_slope, steps=lambda q: q["steps"] - 1),
        _changed("constant step one step ahead", "T6", constant_step_error, steps=lambda q: q["steps"] + 1),
        _changed("constant step faster by its square", "T6", constant_step_error, steps=lambda q: 2 * q["steps"]),
    )


def _t10() -> tuple[BrokenBound, ...]:
    return (
        _changed(
            "minimum of the proximal step doubled",
            "T10",
            proximal_step,
            moved_squared=lambda q: q["moved_squared"] / 2,
            left_squared=lambda q: q["left_squared"] / 2,
        ),
        _changed(
            "factor from the largest singular value",
            "T10",
            proximal_gradient_contraction,
            smallest=lambda q: q["norm"],
        ),
        _changed("factor of twice the step", "T10", proximal_gradient_contraction, gamma=lambda q: 2 * q["gamma"]),
        _changed("step 1% smaller", "T10", proximal_gradient_simplicity, gamma=lambda q: 0.99 * q["gamma"]),
        _changed("norm halved", "T10", proximal_gradient_simplicity, norm=lambda q: q["norm"] / 2),
        _changed(
            "smallest singular value doubled", "T10", half_quadratic_contraction, smallest=lambda q: 2 * q["smallest"]
        ),
        _changed("coupling 1% weaker", "T10", half_quadratic_contraction, beta=lambda q: 0.99 * q["beta"]),
        _changed(
            "steepest singular value missed", "T10", half_quadratic_simplicity, steepest=lambda q: q["steepest"] / 2
        ),
        _changed("L0 = 1/(4 sqrt(beta))", "T10", half_quadratic_budget, beta=lambda q: 4 * q["beta"]),
        _changed("data stable with the constant 1/2", "T10", data_stability, image_gap=lambda q: 2 * q["image_gap"]),
        _changed("constant 1/s 1% smaller", "T10", stability, smallest=lambda q: 1.01 * q["smallest"]),
    )


BROKEN_BOUNDS: tuple[BrokenBound, ...] = (*_t4(), *_t4b(), *_t5(), *_t5b(), *_t6(), *_t10())
"""Every wrong bound; each is violated on the instances that attain the honest one."""


def broken_bounds(theorem: str) -> dict[str, BrokenBound]:
    """Pick the wrong bounds that imitate one theorem.

    Args:
        theorem: its identifier.

    Returns:
        Name to bound.
    """
    return {bound.name: bound for bound in BROKEN_BOUNDS if bound.theorem == theorem}
