"""GPT-2's `Conv1D`, a linear map whose weight has the shape [in, out]: y = x W + b."""

from preflens.gram.capture.taps import ModuleCall
from preflens.gram.rules.base import LayerGradients, RuleContext, linear_claims, response_rows


def conv1d(call: ModuleCall, request: RuleContext) -> list[LayerGradients]:
    """Claim W and b: ∇W = Σ_t x_t ⊗ d_t, ∇b = Σ_t d_t.

    Args:
        call: of the module.
        request: what is asked.

    Returns:
        The claims.
    """
    (grads,) = call.gradients
    assert grads is not None
    inputs = call.args[0] if call.args else call.kwargs["x"]
    x, d = (response_rows(v, call.module, request.responses) for v in (inputs, grads))
    return linear_claims(x, d, request, bias=call.module.bias, input_first=True)
