"""How exactly a log-prob can be measured: in full precision where the weights have it, and what rounding does to it.

A step changes log-probs by hundredths of a nat; under bfloat16 the score of a hundred tokens is off by tenths. What a
fact is measured with must be finer than the fact, or it has to be known how coarse it is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.language_models.model import LanguageModel
from preflens.language_models.tokenizing import TokenizedPair


def can_be_finer(model: nn.Module, autocast: Callable[[], AbstractContextManager[None]]) -> bool:
    """Tell whether a model computes more coarsely in training than its weights allow.

    Args:
        model: with adapters and all.
        autocast: makes the context in which it computes in training.

    Returns:
        Whether all weights are float32 or wider, and autocast or TF32 rounds what is computed from them.
    """
    if not all(p.is_floating_point() and p.element_size() >= 4 for p in model.parameters()):
        return False
    device = next(model.parameters()).device.type
    with autocast():
        return torch.is_autocast_enabled(device) or (device == "cuda" and _tf32() is not None)


@contextmanager
def full_precision(model: nn.Module) -> Iterator[None]:
    """Compute as exactly as the weights allow: without autocast and without TF32.

    Args:
        model: perhaps prepared by accelerate, which wraps an autocast of its own around its `forward`.

    Yields:
        Nothing.
    """
    device = next(model.parameters()).device.type
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device, enabled=False))
        own = vars(model).get("_original_forward")
        if own is not None and "forward" in vars(model):
            stack.callback(vars(model).__setitem__, "forward", vars(model)["forward"])
            vars(model)["forward"] = own
        if (found := _tf32()) is not None:
            switch, setting, off = found
            stack.callback(switch, setting)
            switch(off)
        yield


def _tf32() -> tuple[Callable[[str], None], str, str] | None:
    """By which of torch's two switches TF32 is on, its setting, and the one without; None where it is off."""
    # Where it is off nothing may be set: said once more it would outweigh what a user sets later.
    try:
        setting = torch.get_float32_matmul_precision()
        return None if setting == "highest" else (torch.set_float32_matmul_precision, setting, "highest")
    except RuntimeError:  # put on by the other switch, which torch 2.9 brought
        matmul = torch.backends.cuda.matmul
        return (partial(setattr, matmul, "fp32_precision"), "tf32", "ieee") if matmul.fp32_precision == "tf32" else None


def input_embeddings(model: LanguageModel) -> nn.Module | None:
    """Return the module that looks tokens up.

    Args:
        model: a language model, with or without an adapter.

    Returns:
        The module, or None where the model does not say.
    """
    try:
        found: nn.Module | None = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    return found


@contextmanager
def shaken(embeddings: nn.Module) -> Iterator[None]:
    """Change every number that embeddings return in its last bit, so that everything after it is rounded anew.

    Args:
        embeddings: of a model; no random state is touched.

    Yields:
        Nothing.
    """

    def shake(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:  # noqa: ARG001  # a hook
        device = output.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else output.dtype
        generator = torch.Generator(output.device).manual_seed(0)
        up = torch.empty_like(output).bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
        return output * (1 + torch.finfo(dtype).eps * up)

    handle = embeddings.register_forward_hook(shake)
    try:
        yield
    finally:
        handle.remove()


def rounding_per_token(
    logps: Float64[Tensor, " response"], again: Float64[Tensor, " response"], pairs: Sequence[TokenizedPair]
) -> float:
    """Estimate how far rounding puts a change of a log-prob off.

    Args:
        logps: of the responses, the chosen ones first, nats.
        again: of the same, rounded anew.
        pairs: whose.

    Returns:
        Standard deviation of the error of a difference of two log-probs of one token, nats; that of n tokens is √n
        times as large.
    """
    tokens = sum(sum(pair.scored_tokens) for pair in pairs)
    return float((again - logps).square().sum().div(tokens).sqrt())
