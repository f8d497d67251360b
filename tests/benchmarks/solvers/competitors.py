"""Other people's solvers behind one interface, with the settings that are tried.

Every setting becomes a `Solve`: `run(tol, limit)` is what is timed, `read` turns its result into the states and the number of
evaluations of `G`. `tol` is relative to the size of the equilibrium; it is turned into whatever the library compares with.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tests.benchmarks.solvers.problems import Array, Problem

__all__ = [
    "Setting",
    "Solve",
    "each",
    "jax_double",
    "jaxopt_settings",
    "scipy_settings",
    "settings",
    "torchdeq_settings",
]


@dataclass(frozen=True)
class Solve:
    """A solver that is ready to run on one problem."""

    run: Callable[[float, int], Any]
    read: Callable[[Any], tuple[Array, int]]


@dataclass(frozen=True)
class Setting:
    """A solver with its options; `prepare` does everything that is not timed."""

    package: str
    name: str
    prepare: Callable[[Problem], Solve]


def each(function: Callable[[Any], Any], x: Any) -> Any:
    """Apply a function to an array or to every array of a tuple."""
    return tuple(map(function, x)) if isinstance(x, tuple) else function(x)


def settings(problem: Problem) -> Iterator[Setting]:
    """Everything that is tried on a problem. The compiled plain iteration comes first: it bounds how long others may take."""
    compiled = list(jaxopt_settings(problem))
    plain = [setting for setting in compiled if setting.name.startswith("FixedPointIteration")]
    yield from plain
    yield from scipy_settings()
    yield from (setting for setting in compiled if setting not in plain)
    yield from torchdeq_settings()


# jaxopt: the loop is compiled; tolerance and limit are arguments of the compiled function.


def jax_double(problem: Problem) -> Any:
    """The context in which jax computes in the problem's precision."""
    import jax

    return jax.enable_x64(problem.dtype is np.float64)


def _jaxopt_solve(make: Callable[[Any, Any, Any], Any], *, by_sample: bool, root: bool) -> Callable[[Problem], Solve]:
    def prepare(problem: Problem) -> Solve:
        import jax

        with jax_double(problem):
            G = problem.jax_map()
            single = lambda y, x: G(y[None], each(lambda a: a[None], x))[0]  # noqa: E731
            operator = single if by_sample else G
            function = (lambda y, x: operator(y, x) - y) if root else operator

            def solve(y: Any, x: Any, tol: Any, limit: Any) -> Any:
                found = make(function, tol, limit).run(y, x)
                return found.params, found.state.num_fun_eval

            compiled = jax.jit(jax.vmap(solve, in_axes=(0, 0, None, None)) if by_sample else solve)
            y0, x = jax.numpy.asarray(problem.start), each(jax.numpy.asarray, problem.x)
        size = problem.scale * (1.0 if by_sample else problem.batch**0.5)

        def run(tol: float, limit: int) -> Any:
            with jax_double(problem):
                return jax.block_until_ready(compiled(y0, x, problem.dtype(tol * size), limit))

        return Solve(run, lambda out: (np.asarray(out[0]), int(np.asarray(out[1]).max())))

    return prepare


def jaxopt_settings(problem: Problem) -> Iterator[Setting]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package announces its end
        import jaxopt

    loop = {"implicit_diff": False, "unroll": False}
    by = [False, True] if 1 < problem.batch <= 64 or problem.name == "many rates" else [False]

    def anderson(m: int, ridge: float) -> Callable[[Any, Any, Any], Any]:
        return lambda f, tol, limit: jaxopt.AndersonAcceleration(
            f, history_size=m, ridge=ridge, tol=tol, maxiter=limit, **loop
        )

    def picard(f: Any, tol: Any, limit: Any) -> Any:
        return jaxopt.FixedPointIteration(f, tol=tol, maxiter=limit, **loop)

    def broyden(m: int, step: float) -> Callable[[Any, Any, Any], Any]:
        return lambda f, tol, limit: jaxopt.Broyden(
            f, history_size=m, stepsize=step, gamma=-1.0, tol=tol, maxiter=limit, **loop
        )

    for by_sample in by:
        how = " by sample" if by_sample else ""
        yield Setting("jaxopt", f"FixedPointIteration{how}", _jaxopt_solve(picard, by_sample=by_sample, root=False))
        for m in (10, 5, 20, 3, 40):
            for ridge in (1e-12, 1e-5):
                yield Setting(
                    "jaxopt",
                    f"Anderson({m}, ridge={ridge:g}){how}",
                    _jaxopt_solve(anderson(m, ridge), by_sample=by_sample, root=False),
                )
        for m in (10, 30, 100):
            name = f"Broyden({m}){how}"
            yield Setting("jaxopt", name, _jaxopt_solve(broyden(m, 1.0), by_sample=by_sample, root=True))


# torchdeq: stops when the worst sample's residual, relative to its own size, is below the tolerance.


def torchdeq_settings() -> Iterator[Setting]:
    from torchdeq.solver.anderson import anderson_solver
    from torchdeq.solver.broyden import broyden_solver
    from torchdeq.solver.fp_iter import fixed_point_iter

    def of(name: str, solver: Callable[..., Any], **options: Any) -> Setting:
        def prepare(problem: Problem) -> Solve:
            G, x = problem.torch_map(), each(torch.from_numpy, problem.x)
            y0, calls = torch.from_numpy(problem.start), [0]

            def function(y: torch.Tensor) -> torch.Tensor:
                calls[0] += 1
                return G(y, x)

            def run(tol: float, limit: int) -> Any:
                calls[0] = 0
                with torch.no_grad():
                    return solver(function, y0, max_iter=max(limit, 3), tol=tol, stop_mode="rel", **options)[0]

            return Solve(run, lambda out: (out.numpy(), calls[0]))

        return Setting("torchdeq", name, prepare)

    for m in (10, 5, 20):
        for lam in (1e-12, 1e-8, 1e-4):
            yield of(f"anderson({m}, lam={lam:g})", anderson_solver, m=m, lam=lam)
    for m in (20, 60, 200):
        yield of(f"broyden({m})", broyden_solver, LBFGS_thres=m)
    yield of("fixed_point_iter", fixed_point_iter)


# scipy: the whole batch is one vector, the residual is measured entry by entry.


def scipy_settings() -> Iterator[Setting]:
    from scipy.optimize import fixed_point, root

    def of(name: str, solver: Callable[..., Any]) -> Setting:
        def prepare(problem: Problem) -> Solve:
            G, calls = problem.numpy_map(), [0]
            y0, shape = problem.start.ravel(), problem.solution.shape
            unit = problem.scale / (problem.solution.size / problem.batch) ** 0.5

            def function(v: Array) -> Array:
                calls[0] += 1
                return G(v.reshape(shape), problem.x).ravel()

            def run(tol: float, limit: int) -> Any:
                calls[0] = 0
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    return solver(function, y0, tol, tol * unit, limit)

            return Solve(run, lambda out: (out.reshape(shape), calls[0]))

        return Setting("scipy", name, prepare)

    def nonlinear(method: str, **options: Any) -> Callable[..., Any]:
        def solve(G: Any, y0: Array, tol: float, absolute: float, limit: int) -> Array:
            chosen = {"fatol": absolute, "maxiter": limit, **options}
            return root(lambda v: G(v) - v, y0, method=method, options=chosen).x

        return solve

    def spectral(G: Any, y0: Array, tol: float, absolute: float, limit: int) -> Array:
        chosen = {"fatol": absolute * len(y0) ** 0.5, "ftol": 0.0, "maxfev": limit}
        return root(lambda v: G(v) - v, y0, method="df-sane", options=chosen).x

    def plain(method: str) -> Callable[..., Any]:
        def solve(G: Any, y0: Array, tol: float, absolute: float, limit: int) -> Array:
            try:
                return fixed_point(G, y0, xtol=tol, maxiter=limit, method=method)
            except RuntimeError:  # the limit is reached; the last state is lost
                return np.full_like(y0, np.nan)

        return solve

    yield of("fixed_point iteration", plain("iteration"))
    yield of("root df-sane", spectral)
    yield of("root krylov lgmres", nonlinear("krylov"))
    yield of("root krylov gmres(60)", nonlinear("krylov", jac_options={"method": "gmres", "inner_maxiter": 60}))
    for m in (5, 20):
        yield of(f"root anderson({m})", nonlinear("anderson", line_search=None, jac_options={"M": m, "alpha": 1.0}))
    yield of("root broyden1(30)", nonlinear("broyden1", line_search=None, jac_options={"max_rank": 30, "alpha": 1.0}))
    yield of("fixed_point del2", plain("del2"))
