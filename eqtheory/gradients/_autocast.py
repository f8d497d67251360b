"""Mixed precision: an operator is evaluated again as it was the first time, whoever asks for it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.nests import map_tensors
from eqtheory.norms import Norm
from eqtheory.operators import ImplicitOperator

__all__ = ["Remembered"]


@final
class Remembered(ImplicitOperator):
    """An operator together with the state of autocast in which it was first called.

    A backward pass usually runs outside of `torch.autocast`; what it evaluates anew has to be the operator that was solved. Under
    autocast an operator may return half precision for single-precision states; values are taken back to the type of the state.

    Args:
        operator: the operator.
        device: type of the device of its states.
    """

    def __init__(self, operator: ImplicitOperator, device: str) -> None:
        self.operator, self.regularity, self.compacts = operator, operator.regularity, operator.compacts
        self._device = device
        self._enabled = torch.is_autocast_enabled(device)
        self._dtype = torch.get_autocast_dtype(device)

    @property
    def norm(self) -> Norm:
        """The norm of the operator."""
        return self.operator.norm

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        with self._as_then():
            g = self.operator(y, x)
        dtype = (y[0] if isinstance(y, tuple) else y).dtype
        return map_tensors(lambda t: t.to(dtype), g) if self._enabled else g

    def _as_then(self) -> Any:
        now = torch.is_autocast_enabled(self._device)
        same = now == self._enabled and (not now or torch.get_autocast_dtype(self._device) == self._dtype)
        return nullcontext() if same else torch.autocast(self._device, self._dtype, enabled=self._enabled)

    def initial_state(self, x: Any) -> Tensor:
        """Start where the operator does.

        Args:
            x: inputs.

        Returns:
            Its initial states.
        """
        return self.operator.initial_state(x)
