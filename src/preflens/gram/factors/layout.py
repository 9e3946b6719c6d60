"""Where the responses of a pass stand in the tensors that modules see."""

from dataclasses import dataclass, replace

from jaxtyping import Float, Shaped
from torch import Tensor

from preflens.types import TokenRows

# Matrix products are fastest for multiples of this many rows; measured on CPU: 127 rows take a third longer than 128.
_MULTIPLE = 16


@dataclass(frozen=True)
class Layout:
    """How many responses share a pass, and which of their rows can carry a gradient.

    Attributes:
        responses: chosen ones first, as many rejected ones after them.
        chosen: first and last-plus-one row of interest of the chosen responses; None for all.
        rejected: the same of the rejected ones.
        shared: leading rows of interest in which the two responses of every pair have equal inputs.
        width: rows of the tensors that this is about; others are left whole.
    """

    responses: int
    chosen: tuple[int, int] | None = None
    rejected: tuple[int, int] | None = None
    shared: int = 0
    width: int = -1

    @property
    def pairs(self) -> int:
        """How many pairs."""
        return self.responses // 2

    def narrowed(self, grads: Float[Tensor, "response row out"]) -> "Layout":
        """Leave out the shared rows where no gradient arrives: above the last attention, those of the prompt.

        Args:
            grads: output gradients.

        Returns:
            A layout without them, or the same.
        """
        if self.chosen is None or self.rejected is None or self.shared == 0 or not self.applies(grads):
            return self
        start, end = self.chosen[0], self.chosen[0] + self.shared
        # One column tells nearly always, and costs next to nothing.
        if bool(grads[:, start:end, 0].any()) or bool(grads[:, start:end].any()):
            return self
        return replace(self, chosen=(end, self.chosen[1]), rejected=(end, self.rejected[1]), shared=0)

    def applies(self, values: Tensor) -> bool:
        """Tell whether the rows of a tensor are the positions this is about.

        Args:
            values: [response, row, features].

        Returns:
            Whether it can be cut.
        """
        return self.chosen is not None and values.shape[1] == self.width

    def sides(
        self, values: Shaped[Tensor, "response row features"]
    ) -> tuple[Shaped[Tensor, "pair chosen_row features"], Shaped[Tensor, "pair rejected_row features"]]:
        """Split rows into chosen and rejected ones and cut off what carries no gradient.

        Args:
            values: rows of a module.

        Returns:
            Both sides.
        """
        chosen, rejected = values[: self.pairs], values[self.pairs :]
        if self.chosen is None or self.rejected is None or not self.applies(values):
            return chosen, rejected
        return chosen[:, slice(*self.chosen)], rejected[:, slice(*self.rejected)]

    def cut(self, values: Tensor) -> Tensor:
        """Cut off rows that carry no gradient in any response.

        Args:
            values: [response, row, …].

        Returns:
            The rows of interest.
        """
        if self.chosen is None or self.rejected is None or not self.applies(values):
            return values
        return values[:, min(self.chosen[0], self.rejected[0]) : max(self.chosen[1], self.rejected[1])]


def layout_of(responses: int, rows: TokenRows | None, *, equal_inputs: bool) -> Layout:
    """Derive the layout of a pass.

    Args:
        responses: how many.
        rows: what is known of the positions.
        equal_inputs: whether equal tokens give equal activations: not under dropout.

    Returns:
        The layout.
    """
    if rows is None:
        return Layout(responses)
    start, ends = int(rows.start.min()), rows.end.reshape(2, -1).amax(dim=1).tolist()
    aligned = equal_inputs and bool((rows.start == rows.start[0]).all())
    shared = int(rows.shared.min()) if aligned else 0
    shared = min(shared, *(e - start for e in ends))
    chosen, rejected = ((start, _rounded(start, end, rows.width)) for end in ends)
    return Layout(responses, chosen, rejected, shared, rows.width)


def _rounded(start: int, end: int, width: int) -> int:
    """Add rows without a gradient where there are some: products of 128 rows take less time than those of 127."""
    return min(width, start + -(-(end - start) // _MULTIPLE) * _MULTIPLE)
