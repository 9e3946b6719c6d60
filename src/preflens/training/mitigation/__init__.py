"""Mitigations inside a training step.

`MitigationController` chooses one strategy by the kind of the mitigation and forwards the trainer's calls to it:

    CoefficientMap  →  one_pass      capture per-response gradients during the step's backward pass, then weight them
                       (two_pass)    the same coefficients from a separate pass, where the capture is impossible
    TokenMask       →  token_masks   weight the tokens before the loss is computed
    Splitting       →  splitting     combine gradients taken at two points into one update

Each strategy has the interface of `strategy.Strategy`: `run` surrounds a micro-batch, `loss` computes what is
differentiated inside it. `state` saves the state of a mitigation with each checkpoint. `effect` logs which responses
moved as intended. `held_out_constraints` adds held-out pairs to the constraints of `cone`.
"""
