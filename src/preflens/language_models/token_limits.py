"""Whether token ids fit a model: its vocabulary, and its context."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig

from preflens.errors import InputError
from preflens.language_models.model_names import LOADING_ERRORS, first_line
from preflens.language_models.tokenizing import TokenizedPair


@dataclass(frozen=True)
class TokenLimits:
    """How many tokens and positions a model knows.

    Attributes:
        vocabulary: tokens, or None where that is not known.
        context: positions, or None.
    """

    vocabulary: int | None
    context: int | None

    @classmethod
    def of(cls, name: str, *, revision: str | None = None) -> "TokenLimits":
        """Read it off a configuration, so that rows can be checked before the model is loaded.

        Args:
            name: hub id or folder of the model.
            revision: branch, tag or commit on the hub.

        Returns:
            The room.

        Raises:
            InputError: there is no configuration that can be read.
        """
        try:
            found: Any = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False).get_text_config()
        except LOADING_ERRORS as error:
            raise InputError(f"The model `{name}` cannot be loaded: {first_line(error)}.") from None
        return cls(getattr(found, "vocab_size", None), getattr(found, "max_position_embeddings", None))

    def check(self, pairs: Iterable[TokenizedPair], *, max_length: int | None) -> None:
        """Refuse pairs that the model has no embedding or no position for.

        Args:
            pairs: tokenised.
            max_length: where rows are cut later on, or None.

        Raises:
            InputError: there is one.
        """
        for pair in pairs:
            largest = max((*pair.prompt_ids, *pair.chosen_ids, *pair.rejected_ids))
            refuse_unknown_token(largest, self.vocabulary, "model", where=pair.pair.where)
            self.refuse_longer(min(pair.longest, max_length or pair.longest), where=pair.pair.where)

    def refuse_longer(self, tokens: int, *, where: str) -> None:
        """Refuse a row for which there are not enough positions.

        Args:
            tokens: of the row.
            where: it stands.

        Raises:
            InputError: it is longer than the context.
        """
        if self.context is not None and tokens > self.context:
            raise InputError(
                f"{where} has {tokens} tokens, and the model has positions for {self.context}. Cut rows there: "
                f"`max_length={self.context}`, or less.",
                arguments=["max_length"],
            )


def refuse_unknown_token(largest: int, vocabulary: int | None, what: str, *, where: str) -> None:
    """Refuse a token that a model has no embedding for.

    Args:
        largest: token id.
        vocabulary: tokens that the model knows, or None.
        what: the model, for the message.
        where: the token is from.

    Raises:
        InputError: the model does not know it.
    """
    if vocabulary is not None and largest >= vocabulary:
        raise InputError(
            f"{where}: the tokenizer produced token {largest}, and the {what} knows only {vocabulary} tokens (0 to "
            f"{vocabulary - 1}). They do not belong together; were tokens added, and the model not resized?"
        )
