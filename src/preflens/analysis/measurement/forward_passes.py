"""Split an update batch into forward passes that compute log-probs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from preflens.errors import NumericalError
from preflens.gram.capture.forward import Forward, LogpForward
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.loading import padding_token_id
from preflens.language_models.logps import response_logps
from preflens.language_models.model import LanguageModel
from preflens.language_models.output_head import PlainHead, head_input, plain_head
from preflens.language_models.parameters import Stepping
from preflens.language_models.tokenizing import TokenizedPair
from preflens.types import PairCoefficients


@dataclass(frozen=True)
class PolicyScorer:
    """A policy and the way its log-probs are computed.

    Attributes:
        model: the policy.
        head: its output head where it is a plain one, so that prompts need not be scored; else None.
        pad_token_id: token that fills rows on the right.
        stepping: the trainable parameters. No others may need gradients in any pass.
    """

    model: LanguageModel
    head: PlainHead | None
    pad_token_id: int
    stepping: Stepping = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stepping", Stepping.of(self.model))

    @classmethod
    def of(
        cls, model: LanguageModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[TokenizedPair]
    ) -> "PolicyScorer":
        """Choose how a model is scored, once for all pairs.

        Args:
            model: the policy.
            tokenizer: the model's tokenizer.
            pairs: pairs to be scored. The first one shows whether the output head is a plain one.

        Returns:
            The scorer.
        """
        padding = padding_token_id(tokenizer)
        first = collate(pairs[:1], pad_token_id=padding, device=model.device) if pairs else None
        return cls(model, plain_head(model, first), padding)


@dataclass(frozen=True)
class PassLimit:
    """Upper limit of the size of a forward pass.

    Attributes:
        pairs: number of pairs. None for no limit.
        tokens: number of positions, with padding. None for no limit. A single pair may exceed it.
    """

    pairs: int | None = None
    tokens: int | None = None

    def cut(self, pairs: Sequence[TokenizedPair]) -> Iterator[tuple[TokenizedPair, ...]]:
        """Split pairs, in order, into passes.

        Args:
            pairs: pairs, sorted by length to save padding.

        Yields:
            The pairs of each pass.
        """
        part: list[TokenizedPair] = []
        for pair in pairs:
            longest = max(p.longest for p in (*part, pair))
            full = self.pairs is not None and len(part) >= self.pairs
            if part and (full or (self.tokens is not None and 2 * (len(part) + 1) * longest > self.tokens)):
                yield tuple(part)
                part = []
            part.append(pair)
        if part:
            yield tuple(part)


@dataclass(frozen=True)
class MicroBatches:
    """An update batch, split into forward passes.

    Attributes:
        scorer: the policy.
        pairs: pairs of each pass.
        batches: the same pairs as inputs of the model.
    """

    scorer: PolicyScorer
    pairs: tuple[tuple[TokenizedPair, ...], ...]
    batches: tuple[PairBatch, ...]

    @property
    def model(self) -> LanguageModel:
        """The policy."""
        return self.scorer.model

    def forwards(self, model: LanguageModel | None = None) -> list[LogpForward]:
        """Return one function per pass that computes its log-probs and refuses those that are not finite.

        Args:
            model: a model other than the policy.

        Returns:
            Functions without arguments. The trainable parameters are checked now, because the engine freezes some of
            them during a pass.

        Raises:
            UnsupportedModelError: the trainable parameters have changed.
        """
        self.scorer.stepping.check()
        parts = zip(self.batches, self.pairs, strict=True)
        return [partial(_scores, model or self.model, batch, pairs) for batch, pairs in parts]

    def forwards_to_head(self) -> list[Forward]:
        """Return one function per pass that stops before the output head where that is possible.

        Returns:
            Functions without arguments, as in `forwards`.
        """
        head = self.scorer.head
        if head is None:
            return list(self.forwards())
        self.scorer.stepping.check()
        return [partial(head_input, head, batch) for batch in self.batches]


def make_passes(scorer: PolicyScorer, pairs: Sequence[TokenizedPair], limit: PassLimit) -> MicroBatches:
    """Split the pairs of an update batch, in order, into forward passes.

    Args:
        scorer: the policy. Inputs are put on its device.
        pairs: pairs of the update batch, sorted by length to save padding.
        limit: size of a pass.

    Returns:
        The passes.
    """
    cut = tuple(limit.cut(pairs))
    device = scorer.model.device
    return MicroBatches(
        scorer, cut, tuple(collate(part, pad_token_id=scorer.pad_token_id, device=device) for part in cut)
    )


def by_pass(passes: MicroBatches, coefficients: PairCoefficients) -> list[PairCoefficients]:
    """Split the coefficients of an update batch like its passes.

    Args:
        passes: the update batch.
        coefficients: coefficients of its pairs.

    Returns:
        The coefficients of each pass.
    """
    lengths = [len(part) for part in passes.pairs]
    parts = zip(coefficients.chosen.split(lengths), coefficients.rejected.split(lengths), strict=True)
    return [PairCoefficients(chosen, rejected) for chosen, rejected in parts]


def _scores(model: LanguageModel, batch: PairBatch, pairs: Sequence[TokenizedPair]) -> Float[Tensor, " response"]:
    logps = response_logps(model, batch)
    bad = ~torch.isfinite(logps.detach())
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        side = "chosen" if row < len(pairs) else "rejected"
        raise NumericalError(
            f"The log-prob of the {side} response of pair `{pairs[row % len(pairs)].pair.id}` is {logps[row].item()}. "
            'The model\'s weights or scores are not finite, or overflow in this type; try `dtype="float32"`.',
            arguments=["dtype"],
        )
    return logps
