"""Where the responses of a pass are in the tensors of modules, and which rows can carry a gradient."""

from dataclasses import dataclass, replace

from jaxtyping import Float, Shaped
from torch import Tensor

from preflens.types import TokenRows

# Matrix products are fastest for multiples of this many rows; measured on CPU: 127 rows take a third longer than 128.
_MULTIPLE = 16


@dataclass(frozen=True)
class Layout:
    """The number of responses of a pass, and the rows that can carry a gradient.

    Attributes:
        responses: number of responses; the first half is chosen, the second half rejected.
        chosen: start and end of the rows of chosen responses that can carry a gradient; None for all rows.
        rejected: likewise for rejected responses.
        shared: number of leading rows among them in which the two responses of every pair have equal inputs.
        width: number of rows of the tensors that these rows refer to; other tensors are not cut.
    """

    responses: int
    chosen: tuple[int, int] | None = None
    rejected: tuple[int, int] | None = None
    shared: int = 0
    width: int = -1

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return self.responses // 2

    def narrowed(self, grads: Float[Tensor, "response row out"]) -> "Layout":
        """Leave out the shared rows if no gradient arrives there, as for the prompt above the last attention layer.

        Args:
            grads: output gradients.

        Returns:
            A layout without the shared rows, or the same layout.
        """
        if self.chosen is None or self.rejected is None or self.shared == 0 or not self.applies(grads):
            return self
        start, end = self.chosen[0], self.chosen[0] + self.shared
        # One column nearly always decides, at next to no cost.
        if bool(grads[:, start:end, 0].any()) or bool(grads[:, start:end].any()):
            return self
        return replace(self, chosen=(end, self.chosen[1]), rejected=(end, self.rejected[1]), shared=0)

    def applies(self, values: Tensor) -> bool:
        """Return whether the rows of a tensor are the positions that the layout refers to.

        Args:
            values: [response, row, features].

        Returns:
            True if it can be cut.
        """
        return self.chosen is not None and values.shape[1] == self.width

    def sides(
        self, values: Shaped[Tensor, "response row features"]
    ) -> tuple[Shaped[Tensor, "pair chosen_row features"], Shaped[Tensor, "pair rejected_row features"]]:
        """Split a tensor into chosen and rejected responses, without the rows that carry no gradient.

        Args:
            values: input or output gradient of a module.

        Returns:
            Rows of chosen responses, and rows of rejected responses.
        """
        chosen, rejected = values[: self.pairs], values[self.pairs :]
        if self.chosen is None or self.rejected is None or not self.applies(values):
            return chosen, rejected
        return chosen[:, slice(*self.chosen)], rejected[:, slice(*self.rejected)]

    def cut(self, values: Tensor) -> Tensor:
        """Cut off the rows that carry no gradient in any response.

        Args:
            values: [response, row, …].

        Returns:
            The other rows.
        """
        if self.chosen is None or self.rejected is None or not self.applies(values):
            return values
        return values[:, min(self.chosen[0], self.rejected[0]) : max(self.chosen[1], self.rejected[1])]


def layout_of(responses: int, rows: TokenRows | None, *, equal_inputs: bool) -> Layout:
    """Derive the layout of a pass.

    Args:
        responses: number of responses.
        rows: positions that can carry a gradient; None where they are not known.
        equal_inputs: whether equal tokens give equal activations, which dropout prevents.

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
    """Add rows without a gradient, if the tensor has them: products of 128 rows take less time than those of 127."""
    return min(width, start + -(-(end - start) // _MULTIPLE) * _MULTIPLE)
