"""Attention by its formula: torch's fused kernels have first derivatives only, and no rule for dual numbers on a CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["written_out"]


def written_out() -> AbstractContextManager[None]:
    """Have `scaled_dot_product_attention` evaluated by products and a softmax, which can be differentiated in every way.

    Returns:
        A context; within it results differ from those of the fused kernels by rounding.
    """
    context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return context
