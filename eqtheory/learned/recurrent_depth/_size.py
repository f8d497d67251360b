"""How large a transformer is, and how its layers are shared out between prelude, core and coda."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from eqtheory.errors import InputError
from eqtheory.validate import count, positive

__all__ = ["BlockSize", "RecurrentDepthSize"]


@final
@dataclass(frozen=True, slots=True)
class BlockSize:
    """One block of attention and feed-forward layers.

    Args:
        width: entries of the vector at a position.
        heads: of attention; they share the width out.
        feedforward: entries of the hidden vector of the gated feed-forward layer.
        rotated: part of every head whose entries are rotated by position, in `[0, 1]`; what is left is compared by content alone.
        base: wave length of the slowest rotation, in units of `2 pi` positions.

    Raises:
        InputError: a number out of range, or heads that do not divide the width.
    """

    width: int = 64
    heads: int = 4
    feedforward: int = 128
    rotated: float = 1.0
    base: float = 10_000.0

    def __post_init__(self) -> None:
        for name in ("width", "heads", "feedforward"):
            count(name, getattr(self, name), f"pass for example {name}=64")
        positive("base", self.base)
        if self.width % self.heads:
            raise InputError(
                "heads", str(self.heads), f"a divisor of the width {self.width}", "pass for example heads=4"
            )
        if not 0 <= self.rotated <= 1:
            raise InputError(
                "rotated", str(self.rotated), "0 <= rotated <= 1", "pass rotated=1.0 to rotate all of a head"
            )

    @property
    def head(self) -> int:
        """Entries of one head."""
        return self.width // self.heads

    @property
    def turned(self) -> int:
        """Entries of a head that are rotated, an even number."""
        return 2 * int(self.head * self.rotated / 2)

    @property
    def parameters(self) -> int:
        """Parameters of one block."""
        return 4 * self.width**2 + 3 * self.width * self.feedforward + 4 * self.width


@final
@dataclass(frozen=True, slots=True)
class RecurrentDepthSize:
    """A recurrent-depth transformer: a prelude, a core that is iterated, and a coda.

    Args:
        vocabulary: number of tokens.
        block: of every layer.
        prelude: blocks before the iteration, at least 0.
        core: blocks inside it, at least 1.
        coda: blocks after it, at least 0.

    Raises:
        InputError: a number out of range.
    """

    vocabulary: int
    block: BlockSize = BlockSize()
    prelude: int = 1
    core: int = 1
    coda: int = 1

    def __post_init__(self) -> None:
        count("vocabulary", self.vocabulary, "pass the number of tokens")
        count("core", self.core, "pass core=1 or more; without a core nothing is iterated")
        for name in ("prelude", "coda"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 0):
                raise InputError(name, str(value), "an integer >= 0", f"pass for example {name}=1")

    @property
    def blocks(self) -> int:
        """Blocks with weights of their own."""
        return self.prelude + self.core + self.coda

    @property
    def parameters(self) -> int:
        """Parameters of the whole: blocks, the two tables of tokens, the injection, and the norms of state and output."""
        width = self.block.width
        return self.blocks * self.block.parameters + 2 * self.vocabulary * width + 2 * width**2 + 2 * width

    def depth(self, steps: int) -> int:
        """Say how many blocks a token passes.

        Args:
            steps: iterations of the core.

        Returns:
            The number of blocks, those of the core counted once for every iteration.
        """
        return self.prelude + steps * self.core + self.coda
