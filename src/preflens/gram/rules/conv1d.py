"""GPT-2's `Conv1D`, a linear map whose weight has the shape [in, out]: y = x W + b."""

from preflens.gram.capture.calls import ModuleCall
from preflens.gram.rules.base import LayerGradients, RuleContext, linear_gradients, response_rows


def conv1d(call: ModuleCall, context: RuleContext) -> list[LayerGradients]:
    """Return ∇W = Σ_t x_t ⊗ d_t and ∇b = Σ_t d_t, with d the output gradients.

    Args:
        call: of the module.
        context: names the parameters.

    Returns:
        The gradients.
    """
    (grads,) = call.gradients
    assert grads is not None
    inputs = call.args[0] if call.args else call.kwargs["x"]
    x, d = (response_rows(v, call.module, context.responses) for v in (inputs, grads))
    return linear_gradients(x, d, context, bias=call.module.bias, input_first=True)
