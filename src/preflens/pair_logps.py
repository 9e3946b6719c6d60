"""Log-probs of preference pairs, with the other inputs that objectives may use.

Token-level values are left-aligned: token t of a response is in column t, and the columns from its token count on are
padding, which is never read. All log-probs are in nats.
"""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from preflens.errors import MissingInputError

PerPair = Float[Tensor, " pair"]
PerToken = Float[Tensor, "pair response_token"]


@dataclass(frozen=True)
class ResponseLogps:
    """The log-probs of the chosen responses alone, or of the rejected responses alone, as a reward function gets them.

    Attributes:
        logp: log π(y|x), nats.
        ref_logp: log π_ref(y|x) under the frozen reference model, nats, or None.
        tokens: number of scored tokens of the response, or None.
        token_logps: log π(y_t|x,y_<t) of each token, or None.
        ref_token_logps: log π_ref(y_t|x,y_<t) of each token, or None.
        log_sum_sq_probs: log Σ_v π(v|x,y_<t)² over the vocabulary, at each token, or None.
        future_logp: log π̂(y|x) under an extrapolated policy, or None.

    Example:
        >>> response = ResponseLogps(torch.tensor([-6.0]), torch.tensor([-5.0]), torch.tensor([3]))
        >>> response.log_ratio.item(), response.logp_per_token.item()
        (-1.0, -2.0)
    """

    logp: PerPair
    ref_logp: PerPair | None = None
    tokens: Int[Tensor, " pair"] | None = None
    token_logps: PerToken | None = None
    ref_token_logps: PerToken | None = None
    log_sum_sq_probs: PerToken | None = None
    future_logp: PerPair | None = None

    @property
    def reference(self) -> PerPair:
        """Log π_ref(y|x), nats.

        Raises:
            MissingInputError: no reference log-probs were given.
        """
        if self.ref_logp is None:
            raise MissingInputError(
                "This objective compares with a reference model, and no reference log-probs were given. "
                "Name a reference, or choose an objective without one (simpo, slic, cpo)."
            )
        return self.ref_logp

    @property
    def log_ratio(self) -> PerPair:
        """Log π(y|x) − log π_ref(y|x), nats."""
        return self.logp - self.reference

    @property
    def length(self) -> Int[Tensor, " pair"]:
        """Number of scored tokens.

        Raises:
            MissingInputError: no token counts were given.
        """
        if self.tokens is None:
            raise MissingInputError("This objective uses the length of responses, and no token counts were given.")
        return self.tokens

    @property
    def logp_per_token(self) -> PerPair:
        """Log π(y|x) / |y|, nats per token."""
        return self.logp / self.length

    @property
    def log_ratio_per_token(self) -> PerPair:
        """(log π(y|x) − log π_ref(y|x)) / |y|, nats per token."""
        return self.log_ratio / self.length

    @property
    def future_log_ratio(self) -> PerPair:
        """Log π̂(y|x) − log π_ref(y|x), nats, π̂ an extrapolated policy.

        Raises:
            MissingInputError: no log-probs under an extrapolated policy were given.
        """
        if self.future_logp is None:
            raise MissingInputError("This objective uses a future policy, and no log-probs under it were given.")
        return self.future_logp - self.reference

    def at_tokens(self, values: PerToken | None, what: str) -> PerToken:
        """Return token-level values with zero at padding.

        Args:
            values: one of the token-level fields.
            what: the name of the field, for the message.

        Returns:
            The values, zero from the response's token count on.

        Raises:
            MissingInputError: `values` is None.
        """
        if values is None:
            raise MissingInputError(f"This objective works token by token, and {what} of the tokens were not given.")
        return values.masked_fill(~self.token_mask(values), 0.0)

    def token_mask(self, values: PerToken) -> Bool[Tensor, "pair response_token"]:
        """Return the mask of columns that are tokens of the response.

        Args:
            values: any token-level field.

        Returns:
            True at tokens, False at padding.
        """
        return torch.arange(values.shape[1], device=values.device) < self.length[:, None]


@dataclass(frozen=True)
class PairLogps:
    """Log-probs of preference pairs, with the other inputs that objectives may use.

    Attributes:
        chosen: log π(y_w|x), nats.
        rejected: log π(y_l|x), nats.
        ref_chosen: log π_ref(y_w|x), nats, or None.
        ref_rejected: log π_ref(y_l|x), nats, or None.
        chosen_tokens: scored tokens of the chosen response, or None.
        rejected_tokens: scored tokens of the rejected response, or None.
        chosen_token_logps: log-prob of each token; their sum is `chosen`. Or None.
        rejected_token_logps: likewise; their sum is `rejected`. Or None.
        ref_chosen_token_logps: likewise under the reference model, or None.
        ref_rejected_token_logps: likewise under the reference model, or None.
        chosen_log_sum_sq_probs: log Σ_v π(v|…)² at each token, or None.
        rejected_log_sum_sq_probs: log Σ_v π(v|…)² at each token, or None.
        future_chosen: log π̂(y_w|x) under an extrapolated policy, nats, or None.
        future_rejected: log π̂(y_l|x) under an extrapolated policy, nats, or None.

    Example:
        >>> logps = PairLogps(torch.tensor([-6.0, -4.0]), torch.tensor([-7.0, -3.0]))
        >>> logps.take(torch.tensor([1])).chosen.item(), logps.rejected_side.logp.tolist()
        (-4.0, [-7.0, -3.0])
    """

    chosen: PerPair
    rejected: PerPair
    ref_chosen: PerPair | None = None
    ref_rejected: PerPair | None = None
    chosen_tokens: Int[Tensor, " pair"] | None = None
    rejected_tokens: Int[Tensor, " pair"] | None = None
    chosen_token_logps: Float[Tensor, "pair chosen_token"] | None = None
    rejected_token_logps: Float[Tensor, "pair rejected_token"] | None = None
    ref_chosen_token_logps: Float[Tensor, "pair chosen_token"] | None = None
    ref_rejected_token_logps: Float[Tensor, "pair rejected_token"] | None = None
    chosen_log_sum_sq_probs: Float[Tensor, "pair chosen_token"] | None = None
    rejected_log_sum_sq_probs: Float[Tensor, "pair rejected_token"] | None = None
    future_chosen: PerPair | None = None
    future_rejected: PerPair | None = None

    @property
    def chosen_side(self) -> ResponseLogps:
        """The chosen responses alone."""
        return ResponseLogps(
            self.chosen, self.ref_chosen, self.chosen_tokens, self.chosen_token_logps, self.ref_chosen_token_logps,
            self.chosen_log_sum_sq_probs, self.future_chosen,
        )  # fmt: skip

    @property
    def rejected_side(self) -> ResponseLogps:
        """The rejected responses alone."""
        return ResponseLogps(
            self.rejected, self.ref_rejected, self.rejected_tokens, self.rejected_token_logps,
            self.ref_rejected_token_logps, self.rejected_log_sum_sq_probs, self.future_rejected,
        )  # fmt: skip

    @classmethod
    def from_rows(
        cls,
        token_logps: Float[Tensor, "response token"],
        completion_mask: Bool[Tensor, "response token"],
        *,
        ref_token_logps: Float[Tensor, "response token"] | None = None,
        log_sum_sq_probs: Float[Tensor, "response token"] | None = None,
    ) -> "PairLogps":
        """Build log-probs of pairs from the token log-probs of padded rows, chosen rows first. The graph is kept.

        Args:
            token_logps: log-prob of the token at each position, nats; not read outside the mask.
            completion_mask: which positions are tokens of the response, aligned with `token_logps`.
            ref_token_logps: likewise under the reference model, or None.
            log_sum_sq_probs: log Σ_v π(v|…)² at each position, used by WPO, or None.

        Returns:
            Log-probs of responses and tokens, with token counts.

        Example:
            >>> rows = torch.tensor([[-9.0, -1.0, -2.0], [-9.0, -9.0, -4.0]])
            >>> logps = PairLogps.from_rows(rows, torch.tensor([[False, True, True], [False, False, True]]))
            >>> logps.chosen.item(), logps.rejected.item(), logps.chosen_token_logps.tolist()
            (-3.0, -4.0, [[-1.0, -2.0]])
        """
        chosen, rejected = _left_aligned(token_logps, completion_mask).chunk(2)
        n_w, n_l = completion_mask.sum(1).chunk(2)
        result = cls(
            chosen.sum(1), rejected.sum(1), chosen_tokens=n_w, rejected_tokens=n_l, chosen_token_logps=chosen,
            rejected_token_logps=rejected,
        )  # fmt: skip
        if ref_token_logps is not None:
            w, l = _left_aligned(ref_token_logps, completion_mask).chunk(2)  # noqa: E741  # the paper's letters
            result = replace(result, ref_chosen=w.sum(1), ref_rejected=l.sum(1))
            result = replace(result, ref_chosen_token_logps=w, ref_rejected_token_logps=l)
        if log_sum_sq_probs is not None:
            w, l = _left_aligned(log_sum_sq_probs, completion_mask).chunk(2)  # noqa: E741
            result = replace(result, chosen_log_sum_sq_probs=w, rejected_log_sum_sq_probs=l)
        return result

    def double(self) -> "PairLogps":
        """Return the log-probs in float64, detached."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        floats = {k: v.detach().double() for k, v in values.items() if v is not None and v.is_floating_point()}
        return replace(self, **floats)

    def take(self, indices: Int[Tensor, " _"]) -> "PairLogps":
        """Return the pairs at the given indices, in that order.

        Args:
            indices: indices of pairs.

        Returns:
            All fields for those pairs.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v[indices] for k, v in values.items() if v is not None})


def _left_aligned(
    values: Float[Tensor, "response token"], mask: Bool[Tensor, "response token"]
) -> Float[Tensor, "response response_token"]:
    """Move the masked values of each row to its beginning, in order, and fill the rest with zero."""
    counts = mask.sum(1)
    width = int(counts.max())
    order = mask.logical_not().long().argsort(dim=1, stable=True)[:, :width]
    padding = torch.arange(width, device=mask.device) >= counts[:, None]
    return values.gather(1, order).masked_fill(padding, 0.0)


@dataclass(frozen=True)
class TokenCoefficients:
    """Coefficients of token gradients in a step; zero at padding.

    The negative gradient of a pair's loss is Σ_t d_{w,t} ∇log π(y_{w,t}|…) − Σ_t d_{l,t} ∇log π(y_{l,t}|…).

    Attributes:
        chosen: d_{w,t} = −∂L/∂log π(y_{w,t}|…); no unit.
        rejected: d_{l,t} = +∂L/∂log π(y_{l,t}|…); no unit.

    Example:
        >>> from preflens.objectives import parse_objective
        >>> rows = torch.tensor([[-1.0, -1.0], [-1.0, 0.0]])
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> logps = PairLogps.from_rows(rows, mask, ref_token_logps=rows)
        >>> d = parse_objective("dpo@ld:alpha=0.5").coefficients(logps).per_token
        >>> [[round(x, 3) for x in row] for row in d.chosen.tolist()], d.rejected.shape
        ([[0.05, 0.025]], torch.Size([1, 2]))
    """

    chosen: Float64[Tensor, "pair chosen_token"]
    rejected: Float64[Tensor, "pair rejected_token"]
