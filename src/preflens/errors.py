"""The exceptions of preflens. Each is also a subclass of the built-in exception that fits."""

import re
from collections.abc import Collection, Mapping, Sequence


class PreflensError(Exception):
    """Base of every error that a user of preflens can cause and fix. Its message is one line.

    Args:
        message: text with arguments by their Python names: `limit`, or `on_bad_row="drop"`.
        arguments: these names, so that the command line can replace them with flags. Other words in backticks are data.

    Attributes:
        arguments: the names of arguments in the message.

    Example:
        >>> InputError("`limit` should be at least 1.", arguments=["limit"]).with_flags({"limit": "--limit"})
        '`--limit` should be at least 1.'
    """

    def __init__(self, message: str = "", *, arguments: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.arguments = tuple(arguments)

    def with_flags(self, flags: Mapping[str, str]) -> str:
        """Return the message with flags in place of Python arguments.

        Args:
            flags: flag by argument name; other names stay unchanged.

        Returns:
            The message, with `--on-bad-row drop` for `on_bad_row="drop"`.
        """
        known = [re.escape(name) for name in self.arguments if name in flags]
        if not known:
            return str(self)
        named = re.compile(rf"`({'|'.join(known)})(?:=([^`]*))?`")
        return named.sub(lambda match: f"`{' '.join([flags[match[1]], *_unquoted(match[2])])}`", str(self))


def _unquoted(value: str | None) -> list[str]:
    return [] if value is None else [value.strip("'\"")]


class InputError(PreflensError, ValueError):
    """A file, row, folder or argument is not as expected. The message names it and says what to do."""


class ObjectiveError(PreflensError, ValueError):
    """An objective is unknown, or a parameter of it is unknown or out of range."""


class MissingInputError(ObjectiveError):
    """An input that an objective uses is missing: reference log-probs, token counts or token log-probs."""


class UnsupportedObjectiveError(PreflensError, TypeError):
    """A computation does not support objectives of this kind. The message names the supported ones."""


class NumericalError(PreflensError, ArithmeticError):
    """A number is not finite, or violates an inequality that every exact result satisfies. Nothing is clamped."""


class NonFiniteLogpError(NumericalError):
    """A log-prob is not finite.

    Args:
        row: index of the response, chosen responses first.
        responses: number of responses.
        value: the log-prob.

    Attributes:
        row: index of the response.
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
    """The engine's result differs from autograd's. The message names the module."""


class MissingExtraError(PreflensError, ImportError):
    """An optional package is not installed. The message names the extra that installs it."""


class UnsupportedModelError(PreflensError, TypeError):
    """Per-response gradients of a model cannot be separated. The message names the module."""


class UnreadableGradientError(UnsupportedModelError):
    """The calls of one module do not give per-response gradients; those of a module that contains it may.

    Args:
        message: names the module and the reason.
        module: the module.
        parameters: the affected parameters, if not all parameters of the module.
        mixed: rows of responses are mixed there, so no result inside the containing module can be trusted.
        again: the same pass may succeed if it is repeated, because information about the module was recorded.

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
