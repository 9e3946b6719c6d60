"""Log-probabilities of preference pairs, and what objectives need beside them.

Token-level values are left-aligned: token t of a response stands in column t, and the columns from its token count on
are padding, which nothing reads. All log-probs are in nats.
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
    """One side of the pairs: what an objective sees of the chosen or of the rejected responses.

    Attributes:
        logp: log π(y|x), nats.
        ref_logp: the same under the frozen reference model, or None where there is none.
        tokens: scored tokens of the response, or None where they are unknown.
        token_logps: log π(y_t|x,y_<t) of each token, or None.
        ref_token_logps: the same under the reference model, or None.
        log_sum_sq_probs: log Σ_v π(v|x,y_<t)² over the vocabulary, at each token, or None.
        future_logp: log π̂(y|x) under an extrapolated policy, or None.
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
        """Scored tokens.

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
            raise MissingInputError("This objective looks ahead, and no log-probs of a future policy were given.")
        return self.future_logp - self.reference

    def at_tokens(self, values: PerToken | None, what: str) -> PerToken:
        """Return values of each token, with zero at padding whatever stood there.

        Args:
            values: one of the token-level fields.
            what: its name in words, for the message.

        Returns:
            The values, zero from the response's token count on.

        Raises:
            MissingInputError: they were not given.
        """
        if values is None:
            raise MissingInputError(f"This objective works token by token, and {what} of the tokens were not given.")
        return values.masked_fill(~self.token_mask(values), 0.0)

    def token_mask(self, values: PerToken) -> Bool[Tensor, "pair response_token"]:
        """Return which columns are tokens of the response and not padding.

        Args:
            values: any token-level field.

        Returns:
            True at tokens.
        """
        return torch.arange(values.shape[1], device=values.device) < self.length[:, None]


@dataclass(frozen=True)
class PairLogps:
    """Log-probs of preference pairs, and what objectives need beside them.

    Attributes:
        chosen: log π(y_w|x), nats.
        rejected: log π(y_l|x), nats.
        ref_chosen: log π_ref(y_w|x), nats, or None.
        ref_rejected: log π_ref(y_l|x), nats, or None.
        chosen_tokens: scored tokens of the chosen response, or None.
        rejected_tokens: scored tokens of the rejected response, or None.
        chosen_token_logps: log-prob of each token; their sum is `chosen`. Or None.
        rejected_token_logps: likewise; their sum is `rejected`. Or None.
        ref_chosen_token_logps: the same under the reference model, or None.
        ref_rejected_token_logps: the same under the reference model, or None.
        chosen_log_sum_sq_probs: log Σ_v π(v|…)² at each token, or None.
        rejected_log_sum_sq_probs: log Σ_v π(v|…)² at each token, or None.
        future_chosen: log π̂(y_w|x) under an extrapolated policy, nats, or None.
        future_rejected: log π̂(y_l|x) under an extrapolated policy, nats, or None.
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
        """Build them from padded rows as a model scores them, chosen rows first; the graph is kept.

        Args:
            token_logps: log-prob of the token at each position, nats; what stands outside the mask is not read.
            completion_mask: which positions are tokens of the response, aligned with `token_logps`.
            ref_token_logps: the same under the reference model, or None.
            log_sum_sq_probs: log Σ_v π(v|…)² at each position, which WPO asks for, or None.

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
        """Return the same log-probs in float64, cut from any graph."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        floats = {k: v.detach().double() for k, v in values.items() if v is not None and v.is_floating_point()}
        return replace(self, **floats)

    def take(self, which: Int[Tensor, " some"]) -> "PairLogps":
        """Return some of the pairs, in the order asked for.

        Args:
            which: their positions.

        Returns:
            The same quantities of those pairs.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v[which] for k, v in values.items() if v is not None})


def _left_aligned(
    values: Float[Tensor, "response token"], mask: Bool[Tensor, "response token"]
) -> Float[Tensor, "response response_token"]:
    """Move the masked values of each row to its beginning, in order; zero behind them."""
    counts = mask.sum(1)
    width = int(counts.max())
    order = mask.logical_not().long().argsort(dim=1, stable=True)[:, :width]
    padding = torch.arange(width, device=mask.device) >= counts[:, None]
    return values.gather(1, order).masked_fill(padding, 0.0)


@dataclass(frozen=True)
class TokenCoefficients:
    """How strongly a step climbs or descends each token's gradient; zero at padding.

    The negative gradient of a pair's loss is Σ_t d_{w,t} ∇log π(y_{w,t}|…) − Σ_t d_{l,t} ∇log π(y_{l,t}|…).

    Attributes:
        chosen: d_{w,t} = −∂L/∂log π(y_{w,t}|…); no unit.
        rejected: d_{l,t} = +∂L/∂log π(y_{l,t}|…); no unit.
    """

    chosen: Float64[Tensor, "pair chosen_token"]
    rejected: Float64[Tensor, "pair rejected_token"]
