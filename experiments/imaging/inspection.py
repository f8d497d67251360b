"""What a trained operator provably is and is not: its audit, and how far Jacobian-free gradients are off at it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from eqtheory import audit
from eqtheory.constructions import CircularBlur
from eqtheory.errors import AdjointError, SolverError
from eqtheory.gradients import Implicit, OneStep, Phantom, gradient_bias
from eqtheory.lipschitz import Search
from eqtheory.solvers import Anderson, Stop
from experiments.common.checkpoints import accelerator, random_generator
from experiments.imaging.models import ImplicitModel, observe
from experiments.imaging.photographs import Photographs

__all__ = ["audited", "gradient_biases"]


def audited(
    model: ImplicitModel, photographs: Photographs, kernel: Tensor, noise: float, *, size: int, samples: int
) -> dict[str, Any]:
    """Audit a trained operator on states along its own solves.

    Half of the states are noisy photographs, half iterates near the fixed point, where contraction is slowest; the audit speaks of the box
    of all states in [0, 1] beside what it finds at these.

    Args:
        model: the model.
        photographs: where inputs come from.
        kernel: the blur.
        noise: of observations.
        size: side of the images.
        samples: how many.

    Returns:
        The audit as plain values, with `conclusion`.
    """
    blur = CircularBlur(kernel, (size, size))
    operator = model.operator(blur)

    def sampler(n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        clean = photographs.batch(n, size, generator).to(accelerator())
        x = observe(clean, blur, noise, generator)
        near = model.solve(x, blur, stop=Stop(rtol=1e-4, max_steps=60)).value
        noisy = clean + 0.1 * torch.randn(clean.shape, generator=generator).to(clean)
        pick = torch.arange(n, device=clean.device).reshape(-1, 1, 1, 1) % 2 == 0
        return torch.where(pick, near, noisy), x

    how = Search(steps=20, rounds=2, kept=4)
    found = audit(
        operator,
        sampler,
        samples=samples,
        domain=((0.0, 1.0), None),
        search=how,
        generator=random_generator(11),
        name="half-quadratic splitting" if model.splitting else "proximal gradient",
    )
    return {"conclusion": found.conclusion, "text": str(found), **found.to_dict()}


def gradient_biases(
    model: ImplicitModel, photographs: Photographs, kernel: Tensor, noise: float, *, size: int, samples: int
) -> list[dict[str, Any]]:
    """Compare cheap gradients with the implicit one, for the loss that trained the model.

    Args:
        model: the model; its parameters are switched to requiring gradients for the comparison.
        photographs: where inputs come from.
        kernel: the blur.
        noise: of observations.
        size: side of the images.
        samples: how many.

    Returns:
        For every approximation and kind of variable the relative error and the cosine with the exact gradient, worst sample; or why there
        is no exact gradient.
    """
    blur, draw = CircularBlur(kernel, (size, size)), random_generator(12)
    clean = photographs.batch(samples, size, draw).to(accelerator())
    x = observe(clean, blur, noise, draw)
    model.requires_grad_(requires_grad=True)
    try:
        stop = Stop(rtol=1e-5, max_steps=500)
        with torch.no_grad():
            y = model.solve(x, blur, stop=stop).value
        found = gradient_bias(
            model.operator(blur),
            x,
            cotangent=(y - clean).detach(),
            gradients=[OneStep(), Phantom(steps=4, relaxation=1.0)],
            solver=Anderson(),
            exact=Implicit(expects_contraction=False),
            stop=stop,
        )
    except (SolverError, AdjointError) as error:  # an answer too: there is no gradient to compare with
        return [{"gradient": "exact", "of": "inputs, parameters", "failed": str(error)}]
    finally:
        model.requires_grad_(requires_grad=False)
    return [
        {
            "gradient": repr(bias.gradient),
            "of": bias.of,
            "relative_error": float(bias.relative_error.max()),
            "cosine": float(bias.cosine.min()),
        }
        for bias in found.biases
    ]
