r"""Fourier neural operators, explicit and implicit, made of one block.

A block maps a hidden field `z` and the encoded input `e`, both with `width` channels, through its layers,

    z_0 = z,     z_i = sigma(A_i z_{i-1} + B_i e)  for i < l,     z_l = A_l z_{l-1} + B_l e,

`A_i` Fourier layers (`eqtheory.learned.FourierLayer`), `B_i` mixing channels at every point: the input is injected at every layer.
Encoder and decoder act at every point. With the same block

- the **explicit** operator is `decoder(block_K(... block_1(e, e) ..., e))`, `K` blocks with weights of their own;
- the **implicit** one is `decoder(z*)`, `z* = block(z*, e)`, one block whose number of uses is chosen when it is used: from `z = 0`,
  `z_{t+1} = (1 - tau) z_t + tau block(z_t, e)`.

So the explicit operator of one block and the implicit one have the same parameters, one by one. All commute with shifts of the
grid and do not depend on it.

References:
    Li et al. 2021, Fourier Neural Operator for Parametric Partial Differential Equations, ICLR; Bai, Kolter and Koltun
    2019, Deep Equilibrium Models, NeurIPS.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from eqtheory.errors import InputError, ShapeError
from eqtheory.gradients import Gradient, Implicit, fixed_point
from eqtheory.learned._fourier_layer import FourierKernel, FourierLayer
from eqtheory.operators import ImplicitOperator
from eqtheory.solvers import OnFailure, Picard, Solution, Solver, Stop
from eqtheory.validate import count, open_unit, require_finite

__all__ = ["ExplicitFourierOperator", "FourierBlock", "FourierSize", "HiddenField", "ImplicitFourierOperator"]

_PICARD = Picard()
_IMPLICIT = Implicit()


@final
@dataclass(frozen=True, slots=True)
class FourierSize:
    """How large a Fourier neural operator is.

    Args:
        width: channels of the hidden field.
        modes: largest wave number with a matrix of its own.
        layers: Fourier layers of a block.
        into: channels of the input.
        out: channels of the result.
        largest_norm: bound on the true norm of every Fourier layer; none by default.

    Raises:
        InputError: a number below one.
    """

    width: int
    modes: int
    layers: int = 3
    into: int = 1
    out: int = 1
    largest_norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("width", "modes", "layers", "into", "out"):
            count(name, getattr(self, name), f"pass for example {name}=4")


class _Pointwise(nn.Module):
    """Channels mixed at every point, once or twice with a nonlinearity between."""

    def __init__(self, *channels: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.layers = nn.ParameterList()
        self.biases = nn.ParameterList()
        for into, out in pairwise(channels):
            self.layers.append(nn.Parameter(torch.randn(out, into, generator=generator) * into**-0.5))
            self.biases.append(nn.Parameter(torch.zeros(out)))

    def forward(self, z: Tensor) -> Tensor:
        """Mix channels.

        Args:
            z: shape `(batch, into, x, y)`.

        Returns:
            Shape `(batch, out, x, y)`.
        """
        grid, z = z.shape[-2:], z.flatten(2)
        for place, (weight, bias) in enumerate(zip(self.layers, self.biases, strict=True)):
            z = torch.matmul(weight, functional.gelu(z) if place else z) + bias[:, None]
        return z.reshape(*z.shape[:2], *grid)


@final
class FourierBlock(nn.Module):
    """Fourier layers with the encoded input injected at each.

    Args:
        size: width, modes and layers.
        generator: where the initial weights come from; torch's own state if not given.
    """

    def __init__(self, size: FourierSize, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        count("layers", size.layers, "a block has at least one layer")
        self.layers = nn.ModuleList(
            FourierLayer(size.width, size.width, size.modes, largest_norm=size.largest_norm, generator=generator)
            for _ in range(size.layers)
        )
        self.injections = nn.ModuleList(
            _Pointwise(size.width, size.width, generator=generator) for _ in range(size.layers)
        )

    def kernels(self) -> list[FourierKernel]:
        """Form the maps of all layers at the present parameters.

        Returns:
            One for each layer.
        """
        return [layer.kernel() for layer in self.layers if isinstance(layer, FourierLayer)]

    def inject(self, e: Tensor) -> tuple[Tensor, ...]:
        """Form what is added at each layer; the same in all iterations.

        Args:
            e: the encoded input, shape `(batch, width, x, y)`.

        Returns:
            One field of the same shape for each layer.
        """
        return tuple(injection(e) for injection in self.injections)

    def forward(self, z: Tensor, e: Tensor) -> Tensor:
        """Apply the block once.

        Args:
            z: the hidden field, shape `(batch, width, x, y)`.
            e: the encoded input, of the same shape.

        Returns:
            The new hidden field.
        """
        return _through(self.kernels(), z, self.inject(e))


def _through(kernels: list[FourierKernel], z: Tensor, injected: tuple[Tensor, ...]) -> Tensor:
    last = len(kernels) - 1
    for place, (kernel, added) in enumerate(zip(kernels, injected, strict=True)):
        z = kernel(z) + added
        if place < last:
            z = functional.gelu(z)
    return z


def _require_input(x: Tensor, size: FourierSize, encoder: _Pointwise) -> None:
    least = 2 * size.modes + 1
    if x.ndim != 4 or x.shape[1] != size.into or min(x.shape[-2:]) < least or not len(x):
        raise ShapeError(
            "x",
            came=f"shape {tuple(x.shape)}",
            needed=f"(batch, {size.into}, x, y), batch > 0, with at least {least} points in each direction",
            remedy="put the channels second; refine the grid or keep fewer modes",
        )
    dtype = encoder.layers[0].dtype
    if x.dtype != dtype:
        raise InputError("x", str(x.dtype), f"{dtype}, as the weights", "convert one of both")
    require_finite("x", x, "repair or drop that sample")


@final
class ExplicitFourierOperator(nn.Module):
    """A Fourier neural operator of a fixed number of blocks, each with weights of its own.

    Args:
        size: width, modes, layers, channels.
        blocks: how many.
        generator: where the initial weights come from; torch's own state if not given.

    Example:
        >>> import torch
        >>> operator = ExplicitFourierOperator(FourierSize(4, 3), blocks=2, generator=torch.Generator().manual_seed(0))
        >>> operator(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(self, size: FourierSize, blocks: int = 1, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.size = size
        count("blocks", blocks, "an operator has at least one block")
        self.encoder = _Pointwise(size.into, size.width, size.width, generator=generator)
        self.blocks = nn.ModuleList(FourierBlock(size, generator=generator) for _ in range(blocks))
        self.decoder = _Pointwise(size.width, size.width, size.out, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the operator.

        Args:
            x: inputs, shape `(batch, into, x, y)`.

        Returns:
            Shape `(batch, out, x, y)`.

        Raises:
            ShapeError: no samples, other channels, other axes, or a grid that does not hold the modes.
            InputError: an input of another dtype than the weights.
            NonFiniteError: an input or a weight is NaN or infinite.
        """
        _require_input(x, self.size, self.encoder)
        e = self.encoder(x)
        z = e
        for block in self.blocks:
            z = block(z, e)
        return self.decoder(z)


@final
class HiddenField(ImplicitOperator):
    """The operator an implicit Fourier operator iterates, `z -> (1 - tau) z + tau block(z, e)`, at its parameters of the moment.

    Kernels are formed once. An input is either `x` itself, encoded at every call, or what `encode` made of it, which a solve carries along.

    Args:
        model: whose block it is.
    """

    def __init__(self, model: ImplicitFourierOperator) -> None:
        self._model = model
        self._kernels = model.block.kernels()

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Form what the layers add of an input, the same in all iterations; differentiable.

        Args:
            x: inputs, shape `(batch, into, x, y)`.

        Returns:
            One field for each layer, shape `(batch, width, x, y)`.

        Raises:
            ShapeError: no samples, other channels, other axes, or a grid that does not hold the modes.
            InputError: an input of another dtype than the weights.
            NonFiniteError: an input or a weight is NaN or infinite.
        """
        _require_input(x, self._model.size, self._model.encoder)
        return self._model.block.inject(self._model.encoder(x))

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        tau = self._model.relaxation
        injected = x if isinstance(x, tuple) else self._model.block.inject(self._model.encoder(x))
        after = _through(self._kernels, y, injected)
        return after if tau == 1 else (1 - tau) * y + tau * after

    def initial_state(self, x: Any) -> Tensor:
        """Start from zero.

        Args:
            x: inputs, shape `(batch, into, x, y)`, or what `encode` made of them.

        Returns:
            Zeros, shape `(batch, width, x, y)`.
        """
        if isinstance(x, tuple):
            return torch.zeros_like(x[0])
        _require_input(x, self._model.size, self._model.encoder)
        return x.new_zeros(len(x), self._model.size.width, *x.shape[-2:])


@final
class ImplicitFourierOperator(nn.Module):
    """One block, iterated to its fixed point, between an encoder and a decoder.

    Args:
        size: width, modes, layers, channels.
        relaxation: `tau`, in `(0, 1]`.
        generator: where the initial weights come from; torch's own state if not given.

    Theorem: T1, T9.

    Example:
        >>> import torch
        >>> size = FourierSize(4, 3, largest_norm=0.5)
        >>> operator = ImplicitFourierOperator(size, generator=torch.Generator().manual_seed(0))
        >>> operator(torch.zeros(2, 1, 16, 16), steps=5).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(self, size: FourierSize, *, relaxation: float = 1.0, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.size, self.relaxation = size, open_unit("relaxation", relaxation, include_one=True)
        self.encoder = _Pointwise(size.into, size.width, size.width, generator=generator)
        self.block = FourierBlock(size, generator=generator)
        self.decoder = _Pointwise(size.width, size.width, size.out, generator=generator)

    def operator(self) -> HiddenField:
        """Return the operator on hidden fields whose fixed point is decoded.

        Returns:
            `G(z, x)` at the present parameters.
        """
        return HiddenField(self)

    def solve(
        self,
        x: Tensor,
        *,
        stop: Stop,
        solver: Solver[Any] = _PICARD,
        gradient: Gradient = _IMPLICIT,
        on_failure: OnFailure = OnFailure.RETURN,
    ) -> Solution:
        """Iterate from zero.

        Args:
            x: inputs, shape `(batch, into, x, y)`.
            stop: when to stop.
            solver: which iteration.
            gradient: how derivatives are formed.
            on_failure: what happens where the tolerance is not reached.

        Returns:
            The solution; its value is the hidden field, to be decoded.

        Raises:
            ShapeError: no samples, other channels, other axes, or a grid that does not hold the modes.
            InputError: an input of another dtype than the weights.
            NonFiniteError: an input or a weight is NaN or infinite.
        """
        operator = self.operator()
        injected = operator.encode(x)
        return fixed_point(operator, injected, solver=solver, stop=stop, gradient=gradient, on_failure=on_failure)

    def forward(self, x: Tensor, steps: int = 100) -> Tensor:
        """Apply the operator by plain iteration.

        Args:
            x: inputs, shape `(batch, into, x, y)`.
            steps: how many; samples that reach a relative residual of 1e-6 stop earlier.

        Returns:
            Shape `(batch, out, x, y)`.

        Raises:
            ShapeError: no samples, other channels, other axes, or a grid that does not hold the modes.
            InputError: an input of another dtype than the weights.
            NonFiniteError: an input or a weight is NaN or infinite.
        """
        return self.decoder(self.solve(x, stop=Stop(rtol=1e-6, max_steps=steps)).value)
