"""Checks of token ids against the vocabulary and the context length of a model."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig

from preflens.errors import InputError
from preflens.language_models.model_names import LOADING_ERRORS, first_line
from preflens.language_models.tokenizing import TokenizedPair


@dataclass(frozen=True)
class TokenLimits:
    """Vocabulary size and context length of a model.

    Attributes:
        vocabulary: number of tokens, or None if unknown.
        context: number of positions, or None if unknown.
    """

    vocabulary: int | None
    context: int | None

    @classmethod
    def of(cls, name: str, *, revision: str | None = None) -> "TokenLimits":
        """Read the limits from a configuration, so that rows can be checked before the model is loaded.

        Args:
            name: hub id or folder of the model.
            revision: branch, tag or commit on the hub.

        Returns:
            The limits.

        Raises:
            InputError: the configuration cannot be read.
        """
        try:
            config: Any = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False).get_text_config()
        except LOADING_ERRORS as error:
            raise InputError(f"The model `{name}` cannot be loaded: {first_line(error)}.") from None
        return cls(getattr(config, "vocab_size", None), getattr(config, "max_position_embeddings", None))

    def check(self, pairs: Iterable[TokenizedPair], *, max_length: int | None) -> None:
        """Raise if a pair has a token without an embedding or without a position.

        Args:
            pairs: tokenized pairs.
            max_length: the length to which rows are truncated later, or None.

        Raises:
            InputError: there is such a pair.
        """
        for pair in pairs:
            largest = max((*pair.prompt_ids, *pair.chosen_ids, *pair.rejected_ids))
            refuse_unknown_token(largest, self.vocabulary, "model", where=pair.pair.where)
            self.refuse_longer(min(pair.longest, max_length or pair.longest), where=pair.pair.where)

    def refuse_longer(self, tokens: int, *, where: str) -> None:
        """Raise if a row is longer than the context.

        Args:
            tokens: number of tokens of the row.
            where: file and line, for the message.

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
    """Raise if a token has no embedding.

    Args:
        largest: the largest token id.
        vocabulary: vocabulary size of the model, or None.
        what: the model, for the message.
        where: file and line of the token, for the message.

    Raises:
        InputError: the token is beyond the vocabulary.
    """
    if vocabulary is not None and largest >= vocabulary:
        raise InputError(
            f"{where}: the tokenizer produced token {largest}, and the {what} knows only {vocabulary} tokens (0 to "
            f"{vocabulary - 1}). They do not belong together; were tokens added, and the model not resized?"
        )
