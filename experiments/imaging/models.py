"""The models: a denoiser inside an operator whose fixed point is the image, and explicit ones of the same parts.

Every model maps an observation and the blur that made it to an image. The implicit ones are T10's operators with a learned prior step;
the unrolled ones are the same half-quadratic steps with a denoiser of their own for each stage; the one-pass model is the denoiser
applied to the observation, told the noise level and not the blur.
"""

from __future__ import annotations

import copy
import math
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from eqtheory.constructions import CircularBlur, HalfQuadraticSplitting, ProximalGradient
from eqtheory.errors import ShapeError
from eqtheory.gradients import Gradient, Implicit, fixed_point
from eqtheory.learned import Denoiser
from eqtheory.operators import ImplicitOperator
from eqtheory.solvers import OnFailure, Picard, Solution, Solver, Stop
from eqtheory.validate import require_finite

__all__ = ["ImplicitModel", "LearnedPrior", "OnePass", "Unrolled", "observe", "require_observation"]

LARGEST_STEP = 1.8
"""Of the proximal gradient step, times `|A|^2`: below 2, from where on the gradient step itself expands, by a margin for learned priors."""
_PICARD = Picard()
_IMPLICIT = Implicit()


def observe(clean: Tensor, blur: CircularBlur, noise: float, generator: torch.Generator) -> Tensor:
    """Blur photographs and add Gaussian noise.

    Args:
        clean: shape `(batch, 3, height, width)`.
        blur: of that size.
        noise: standard deviation.
        generator: of the noise.

    Returns:
        Observations, the shape of `clean`.
    """
    # Drawn on the host, so that the same numbers come out everywhere.
    return blur(clean) + noise * torch.randn(clean.shape, generator=generator, dtype=clean.dtype).to(clean.device)


def require_observation(x: Tensor, blur: CircularBlur) -> None:
    """Check that observations are colour images of the blur's size without NaN.

    Args:
        x: observations.
        blur: that is said to have made them.

    Raises:
        ShapeError: grey, without a batch axis, or of another size.
        NonFiniteError: a pixel is NaN or infinite.
    """
    if x.ndim != 4 or x.shape[1] != 3 or tuple(x.shape[-2:]) != blur.size:
        raise ShapeError(
            "x",
            came=f"shape {tuple(x.shape)}",
            needed=f"colour images of the blur's size: (batch, 3, {blur.size[0]}, {blur.size[1]})",
            remedy="expand grey images to three channels; build the blur for the images' size",
        )
    require_finite("x", x, "repair or drop that image")


@final
class LearnedPrior(nn.Module):
    """A denoiser at a noise level that is trained with it, as the prior step of an operator.

    Args:
        denoiser: the network.
        level: the noise level to begin with.
    """

    def __init__(self, denoiser: Denoiser, level: float) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.log_level = nn.Parameter(torch.tensor(math.log(level)))

    def forward(self, image: Tensor) -> Tensor:
        """Apply the prior step.

        Args:
            image: shape `(batch, 3, height, width)`.

        Returns:
            The denoised image.
        """
        level = self.log_level.exp().to(image.dtype)
        return self.denoiser(image.contiguous(memory_format=torch.channels_last), level).contiguous()


@final
class ImplicitModel(nn.Module):
    """The fixed point of half-quadratic splitting or of a proximal gradient step with a learned prior.

    Args:
        denoiser: the network; it is not copied.
        splitting: half-quadratic splitting, else the proximal gradient step.
        step: the coupling `beta`, or the step `gamma`.
        level: noise level of the denoiser.
    """

    def __init__(self, denoiser: Denoiser, *, splitting: bool, step: float, level: float) -> None:
        super().__init__()
        self.prior, self.splitting = LearnedPrior(denoiser, level), splitting
        self.log_step = nn.Parameter(torch.tensor(math.log(step)))

    def operator(self, blur: CircularBlur) -> ImplicitOperator:
        """Return the operator whose fixed point is the image.

        Args:
            blur: of the images' size.

        Returns:
            `G(y, x)` at the present parameters.
        """
        step = self.log_step.exp()
        if self.splitting:
            return HalfQuadraticSplitting(blur, self.prior, step)
        return ProximalGradient(blur, self.prior, step.clamp(max=LARGEST_STEP / blur.norm.value**2))

    def solve(
        self,
        x: Tensor,
        blur: CircularBlur,
        *,
        stop: Stop,
        solver: Solver[Any] = _PICARD,
        gradient: Gradient = _IMPLICIT,
        on_failure: OnFailure = OnFailure.RETURN,
    ) -> Solution:
        """Iterate from zero.

        Args:
            x: observations.
            blur: of their size.
            stop: when to stop.
            solver: which iteration.
            gradient: how derivatives are formed.
            on_failure: what happens where the tolerance is not reached.

        Returns:
            The solution; its value is the image.
        """
        require_observation(x, blur)
        return fixed_point(self.operator(blur), x, solver=solver, stop=stop, gradient=gradient, on_failure=on_failure)

    def forward(self, x: Tensor, blur: CircularBlur, steps: int = 100) -> Tensor:
        """Reconstruct by plain iteration.

        Args:
            x: observations.
            blur: of their size.
            steps: how many; samples that reach a relative residual of 1e-6 stop earlier.

        Returns:
            Images.
        """
        return self.solve(x, blur, stop=Stop(rtol=1e-6, max_steps=steps)).value


@final
class OnePass(nn.Module):
    """The network applied once to the observation.

    Args:
        denoiser: the network; it is not copied.
        level: noise level it is told.
    """

    def __init__(self, denoiser: Denoiser, *, level: float) -> None:
        super().__init__()
        self.prior = LearnedPrior(denoiser, level)

    def forward(self, x: Tensor, blur: CircularBlur) -> Tensor:
        """Reconstruct.

        Args:
            x: observations.
            blur: of their size; the network is not told of it.

        Returns:
            Images.
        """
        require_observation(x, blur)
        return self.prior(x)


@final
class Unrolled(nn.Module):
    """A fixed number of half-quadratic steps, each with a network of its own.

    Args:
        denoiser: the network every stage starts as a copy of.
        stages: how many.
        step: the coupling `beta` of every stage to begin with.
        level: noise level of every stage to begin with.
    """

    def __init__(self, denoiser: Denoiser, stages: int, *, step: float, level: float) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            ImplicitModel(copy.deepcopy(denoiser), splitting=True, step=step, level=level) for _ in range(stages)
        )

    def forward(self, x: Tensor, blur: CircularBlur) -> Tensor:
        """Reconstruct.

        Args:
            x: observations.
            blur: of their size.

        Returns:
            Images.
        """
        require_observation(x, blur)
        y = torch.zeros_like(x)
        for stage in self.stages:
            y = cast("ImplicitModel", stage).operator(blur)(y, x)
        return y
