"""Wrong duals and wrong steps that the check of T12 has to refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from eqtheory.constructions import LinearProgram, PrimalDual, RegularisedDual
from proofs_check import programs

__all__ = ["WRONG_DUALS", "WRONG_STEPS"]


def wrong_duals() -> dict[str, Callable[[RegularisedDual], programs.DualClaim]]:
    honest = programs.honest_dual

    def with_decoder(
        decode: Callable[[RegularisedDual, Tensor, LinearProgram], Tensor],
    ) -> Callable[[RegularisedDual], programs.DualClaim]:
        def claim(G: RegularisedDual) -> programs.DualClaim:
            def step(p: Tensor, x: LinearProgram) -> Tensor:
                return x.projected((1 - G.tau * G.delta) * p + G.tau * (x.times(decode(G, p, x)) - x.b))

            return replace(honest(G), step=step, decode=lambda p, x: decode(G, p, x))

        return claim

    def changed(**parts: Any) -> Callable[[RegularisedDual], programs.DualClaim]:
        return lambda G: replace(honest(G), **{name: value(G) for name, value in parts.items()})

    def no_projection(G: RegularisedDual) -> programs.DualClaim:
        step = lambda p, x: (1 - G.tau * G.delta) * p + G.tau * (x.times(G.decode(p, x)) - x.b)  # noqa: E731
        return replace(honest(G), step=step)

    def undamped(G: RegularisedDual) -> programs.DualClaim:
        return replace(honest(G), step=lambda p, x: x.projected(p + G.tau * (x.times(G.decode(p, x)) - x.b)))

    return {
        "sign of A^T p": with_decoder(lambda G, p, x: torch.clamp((-x.c + x.transposed(p)) / G.lam, x.l, x.u)),
        "lam forgotten in the decoder": with_decoder(lambda _, p, x: torch.clamp(-(x.c + x.transposed(p)), x.l, x.u)),
        "bounds forgotten": with_decoder(lambda G, p, x: -(x.c + x.transposed(p)) / G.lam),
        "clipped before the division": with_decoder(
            lambda G, p, x: torch.clamp(-(x.c + x.transposed(p)), x.l, x.u) / G.lam
        ),
        "multipliers not projected": no_projection,
        "delta forgotten in the step": undamped,
        "step too long": lambda G: replace(
            honest(G),
            step=lambda p, x: x.projected((1 - 3 * G.tau * G.delta) * p + 3 * G.tau * (x.times(G.decode(p, x)) - x.b)),
        ),
        "mu 1% smaller": lambda G: replace(honest(G), mu=lambda x: 0.99 * honest(G).mu(x)),
        "mu from delta alone": changed(mu=lambda G: lambda x: torch.full_like(x.c[:, 0], abs(1 - G.tau * G.delta))),
        "mu without delta": changed(mu=lambda G: lambda x: (1 - G.tau * programs.norms(x) ** 2 / G.lam).abs()),
        "L0 without the bounds": changed(L0=lambda G: G.tau * (1 + G.size / G.lam)),
        "L1 = tau a": changed(L1=lambda G: 0.01 * G.tau * G.size, L0=lambda G: 0.01 * honest(G).L0),
        "error a quarter": changed(error_factor=lambda _: 1 / 16),
    }


def wrong_steps() -> dict[str, Callable[[PrimalDual], programs.StepClaim]]:
    def made(step: Callable[..., tuple[Tensor, Tensor]]) -> Callable[[PrimalDual], programs.StepClaim]:
        def claim(G: PrimalDual) -> programs.StepClaim:
            def apply(z: Tensor, x: LinearProgram) -> Tensor:
                return torch.cat(step(*G.split(z, x), x, *G.steps), dim=1)

            return programs.StepClaim("wrong", apply, G)

        return claim

    def primal(y: Tensor, p: Tensor, x: LinearProgram, tau: float) -> Tensor:
        return torch.clamp(y - tau * (x.c + x.transposed(p)), x.l, x.u)

    def variant(
        extrapolate: float, long: float = 1.0, *, project: bool = True, sign: float = 1.0
    ) -> Callable[..., tuple[Tensor, Tensor]]:
        def step(y: Tensor, p: Tensor, x: LinearProgram, tau: float, sigma: float) -> tuple[Tensor, Tensor]:
            here = primal(y, sign * p, x, tau)
            moved = p + long * sigma * (x.times(here + extrapolate * (here - y)) - x.b)
            return here, x.projected(moved) if project else moved

        return step

    def unclipped(y: Tensor, p: Tensor, x: LinearProgram, tau: float, sigma: float) -> tuple[Tensor, Tensor]:
        here = y - tau * (x.c + x.transposed(p))
        return here, x.projected(p + sigma * (x.times(2 * here - y) - x.b))

    return {
        "no extrapolation": made(variant(0.0)),
        "extrapolated twice": made(variant(2.0)),
        "dual step three times as long": made(variant(1.0, 3.0)),
        "multipliers not projected": made(variant(1.0, project=False)),
        "sign of A^T p": made(variant(1.0, sign=-1.0)),
        "bounds forgotten": made(unclipped),
    }


WRONG_DUALS = wrong_duals()
WRONG_STEPS = wrong_steps()
