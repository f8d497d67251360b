r"""States and a block of tangents through several steps: `G(y_t, x)` and `dG/dy V_t + dG/dx W` for consecutive `t`.

Four ways, to be had from the same arguments and giving the same numbers:

- **tiled**: dual numbers on a batch in which every sample stands `K` times. Little overhead, `K` evaluations and their tangents;
- **mapped**: the evaluation once, tangents mapped over. Less work for wide blocks, more overhead;
- tiled or mapped with attention **written out**, for fused kernels without a rule for dual numbers;
- **reverse**: products by differentiating a product with the transpose, for operations without a rule for dual numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import torch
from torch import Tensor
from torch.autograd import forward_ad

from eqtheory.errors import GradientUnavailableError
from eqtheory.lipschitz.curves._iteration import Averaging, combined
from eqtheory.nests import Raveled
from eqtheory.operators import Linearization, written_out

__all__ = ["Propagator"]

_WIDE = 8
_HEAVY = 1 << 14
"""Blocks of at least `_WIDE` tangents with this many numbers are mapped; below, overhead is what counts."""

_FEW = 1 << 12

Images = tuple[list[Tensor], list[Tensor]]
Way = Callable[[Tensor, Tensor, Tensor, Sequence[int]], Images]


@final
class Propagator:
    """Pushes states and tangents through steps of one iteration.

    Args:
        function: `(y, x) -> y`, each sample by itself.
        x: the inputs, a nest.
        start: `y_0`, shape `(batch, ...)`.
        directions: tangents of the inputs, shape `(K, batch, n)`, `n` the coordinates of one input.
        weights: of every step.
    """

    def __init__(
        self, function: Callable[[Tensor, Any], Tensor], x: Any, start: Tensor, directions: Tensor, weights: Averaging
    ) -> None:
        self.function, self.x, self.start, self.directions, self.weights = function, x, start, directions, weights
        self.batch, self.width = start.shape[0], directions.shape[0]
        self.raveled = Raveled(x, self.batch)
        self._flat = self.raveled.flat(x)
        heavy = self.width >= _WIDE and self.width * start.numel() >= _HEAVY
        first: list[Way] = [self._mapped, self._tiled] if heavy else [self._tiled, self._mapped]
        self._ways: list[Way] = [*first, *(partial(self._by_formula, way) for way in first), self._reverse]
        self._rows = torch.arange(self.batch, device=start.device).repeat(self.width)

    def images(self, y: Tensor, V: Tensor, V0: Tensor, steps: Sequence[int]) -> Images:
        """Run some steps.

        Args:
            y: states before the first of them, shape `(batch, ...)`.
            V: their tangents, shape `(K, batch, ...)`.
            V0: tangents of `y_0`.
            steps: consecutive numbers of steps.

        Returns:
            `G(y_t, x)` and the images of the tangents at every step, as many as there are steps.

        Raises:
            GradientUnavailableError: the map can be differentiated in no way.
        """
        failed: Exception | None = None
        while self._ways:
            try:
                return self._ways[0](y, V, V0, steps)
            except (NotImplementedError, RuntimeError) as error:  # no rule for this operation in this mode
                if failed is None:
                    with torch.no_grad():
                        self.function(y, self.x)  # an error of the map itself is the caller's to see
                failed = error
                self._ways = self._ways[1:]
        message = f"G has no derivative in the input that could be propagated ({failed}); build it from differentiable operations"
        raise GradientUnavailableError(message) from failed

    def _by_formula(self, way: Way, y: Tensor, V: Tensor, V0: Tensor, steps: Sequence[int]) -> Images:
        with written_out():
            return way(y, V, V0, steps)

    def _tiled(self, y: Tensor, V: Tensor, V0: Tensor, steps: Sequence[int]) -> Images:
        values: list[Tensor] = []
        moved: list[Tensor] = []
        with torch.no_grad(), forward_ad.dual_level():
            x = self.raveled.nest(_dual(self._flat.repeat(self.width, 1), self.directions.flatten(0, 1)), self._rows)
            at = _dual(self._tiles(y), V.flatten(0, 1))
            first = _dual(self._tiles(self.start), V0.flatten(0, 1))
            images = []
            for t in steps:
                images.append(self.function(at, x))
                at = combined(self.weights(t), at, first, images[-1])
            # Taking a dual number apart costs as much as an operation: small ones are taken apart together.
            few = V.numel() < _FEW
            for image in [torch.stack(images)] if few else images:
                value, tangent = _parts(image)
                tangent = torch.zeros_like(value) if tangent is None else tangent
                values += list(value[:, : self.batch]) if few else [value[: self.batch]]
                moved += list(tangent.reshape(-1, *V.shape)) if few else [tangent.reshape(V.shape)]
        return values, moved

    def _tiles(self, y: Tensor) -> Tensor:
        return y.repeat(self.width, *[1] * (y.ndim - 1))

    def _mapped(self, y: Tensor, V: Tensor, V0: Tensor, steps: Sequence[int]) -> Images:
        def run(states: Tensor, first: Tensor, flat: Tensor) -> Tensor:
            x, images = self.raveled.nest(flat), []
            for t in steps:
                images.append(self.function(states, x))
                states = combined(self.weights(t), states, first, images[-1])
            return torch.stack(images)

        def one(v: Tensor, v0: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
            return torch.func.jvp(run, (y, self.start, self._flat), (v, v0, w))  # type: ignore[return-value]

        with torch.no_grad():
            values, moved = torch.func.vmap(one, out_dims=(None, 1))(V, V0, self.directions)  # type: ignore[arg-type]
        return list(values), list(moved)

    def _reverse(self, y: Tensor, V: Tensor, V0: Tensor, steps: Sequence[int]) -> Images:
        shape, n = y.shape, y[0].numel()

        def joint(z: Tensor, _: None) -> Tensor:
            return self.function(z[:, :n].reshape(shape), self.raveled.nest(z[:, n:]))

        values, moved = [], []
        for t in steps:
            here = Linearization(joint, torch.cat([y.reshape(self.batch, -1), self._flat.to(y.dtype)], dim=1), None)
            tangents = [
                here.push(torch.cat([v.reshape(self.batch, -1), w.to(y.dtype)], dim=1))
                for v, w in zip(V, self.directions, strict=True)
            ]
            with torch.no_grad():
                values.append(self.function(y, self.x))
            moved.append(torch.stack(tangents))
            y, V = combined(self.weights(t), y, self.start, values[-1]), combined(self.weights(t), V, V0, moved[-1])
        return values, moved


def _dual(primal: Tensor, tangent: Tensor) -> Tensor:
    # forward_ad has no annotations.
    return forward_ad.make_dual(primal, tangent)  # type: ignore[no-untyped-call]


def _parts(dual: Tensor) -> tuple[Tensor, Tensor | None]:
    primal, tangent = forward_ad.unpack_dual(dual)  # type: ignore[no-untyped-call]
    return primal, tangent
