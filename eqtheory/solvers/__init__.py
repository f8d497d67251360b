"""Solvers of `y = G(y, x)` that say, for every sample, how the solve ended and how far its answer is from the truth."""

from __future__ import annotations

from eqtheory.solvers._anderson import Anderson, AndersonState
from eqtheory.solvers._anderson_tgs import AndersonTGS, AndersonTGSState
from eqtheory.solvers._barzilai_borwein import BarzilaiBorwein, BarzilaiBorweinState
from eqtheory.solvers._broyden import Broyden, BroydenState
from eqtheory.solvers._certificate import Certificate
from eqtheory.solvers._company import Company
from eqtheory.solvers._halpern import Halpern, HalpernState
from eqtheory.solvers._krasnoselskii_mann import KrasnoselskiiMann
from eqtheory.solvers._loop import certify, fixed_point
from eqtheory.solvers._measure import Gauge
from eqtheory.solvers._native import compile_kernels
from eqtheory.solvers._newton_krylov import NewtonKrylov, NewtonKrylovState
from eqtheory.solvers._packing import Packed
from eqtheory.solvers._picard import Picard
from eqtheory.solvers._progress import ProgressBar, Watcher
from eqtheory.solvers._solution import Memory, Solution, Trace
from eqtheory.solvers._solver import Pushforward, Solver
from eqtheory.solvers._status import ConvergenceWarning, OnFailure, Status
from eqtheory.solvers._stop import Quantity, Stop

__all__ = [
    "Anderson",
    "AndersonState",
    "AndersonTGS",
    "AndersonTGSState",
    "BarzilaiBorwein",
    "BarzilaiBorweinState",
    "Broyden",
    "BroydenState",
    "Certificate",
    "Company",
    "ConvergenceWarning",
    "Gauge",
    "Halpern",
    "HalpernState",
    "KrasnoselskiiMann",
    "Memory",
    "NewtonKrylov",
    "NewtonKrylovState",
    "OnFailure",
    "Packed",
    "Picard",
    "ProgressBar",
    "Pushforward",
    "Quantity",
    "Solution",
    "Solver",
    "Status",
    "Stop",
    "Trace",
    "Watcher",
    "certify",
    "compile_kernels",
    "fixed_point",
]
