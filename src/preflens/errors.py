"""The exceptions preflens raises, each also the built-in error that it refines."""

import re
from collections.abc import Collection, Mapping, Sequence


class PreflensError(Exception):
    """Base of every error that a user of preflens can cause and mend; its message is one clear line.

    Args:
        message: it speaks of arguments by the names that they have in Python: `limit`, or `on_bad_row="drop"`.
        arguments: those names, so that a command can call them by its flags. Other words in backticks are data.

    Attributes:
        arguments: the same.

    Example:
        >>> InputError("`limit` should be at least 1.", arguments=["limit"]).with_flags({"limit": "--limit"})
        '`--limit` should be at least 1.'
    """

    def __init__(self, message: str = "", *, arguments: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.arguments = tuple(arguments)

    def with_flags(self, flags: Mapping[str, str]) -> str:
        """Say the message to someone at a command line.

        Args:
            flags: by the names of arguments; a name that is not among them stays as it is.

        Returns:
            The message, with `--on-bad-row drop` for `on_bad_row="drop"`.
        """
        known = [re.escape(name) for name in self.arguments if name in flags]
        if not known:
            return str(self)
        named = re.compile(rf"`({'|'.join(known)})(?:=([^`]*))?`")
        return named.sub(lambda found: f"`{' '.join([flags[found[1]], *_unquoted(found[2])])}`", str(self))


def _unquoted(value: str | None) -> list[str]:
    return [] if value is None else [value.strip("'\"")]


class InputError(PreflensError, ValueError):
    """A file, row, folder or argument is not what was expected; the message names it and what to do."""


class ObjectiveError(PreflensError, ValueError):
    """An objective is unknown, or a parameter of it is unknown or out of range."""


class MissingInputError(ObjectiveError):
    """An objective needs something that was not given: reference log-probs, token counts, log-probs of tokens."""


class UnsupportedObjectiveError(PreflensError, TypeError):
    """An objective is not of the kind that a computation can treat; the message says which is needed."""


class NumericalError(PreflensError, ArithmeticError):
    """A number is not finite, or breaks a law that every exact result obeys; nothing is clamped."""


class NonFiniteLogpError(NumericalError):
    """A log-prob is not finite.

    Args:
        row: of the response, chosen ones first.
        responses: how many there are.
        value: the log-prob.

    Attributes:
        row: of the response.
        value: the log-prob.
    """

    def __init__(self, row: int, responses: int, value: float) -> None:
        self.row, self.value = row, value
        side = "chosen" if row < responses // 2 else "rejected"
        super().__init__(
            f"The log-prob of the {side} response of pair {row % (responses // 2)} (from 0) is {value}. The model's "
            "weights or scores are not finite, or overflow in this type; compute in float32."
        )


class AuditError(PreflensError, AssertionError):
    """What the fast engine computes is not what autograd computes; the message names the module."""


class MissingExtraError(PreflensError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class UnsupportedModelError(PreflensError, TypeError):
    """A model does something whose per-response gradients cannot be told apart; the message names the module."""


class UnreadableGradientError(UnsupportedModelError):
    """Gradients cannot be read off the calls of one module; those of a module around it may say more.

    Args:
        message: says what was found.
        module: the module.
        parameters: whose gradients these are, where it is not all that are read off the module.
        mixed: rows of responses cannot be told apart there, so nothing inside the module around it can be trusted.
        again: the same pass may succeed when it is repeated, because something has been learnt about the module.

    Attributes:
        module: see above.
        parameters: see above.
        mixed: see above.
        again: see above.
    """

    def __init__(
        self,
        message: str,
        *,
        module: object = None,
        parameters: Collection[object] = (),
        mixed: bool = False,
        again: bool = False,
    ) -> None:
        super().__init__(message)
        self.module, self.parameters, self.mixed, self.again = module, tuple(parameters), mixed, again
