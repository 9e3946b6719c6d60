"""The probe of a training run: it forecasts what a step does to each log-prob, and measures what it did.

The life of a probed batch, from the start of a step (top) to the log (bottom):

    TRL's training step                          the probe
    -------------------                          ---------
    on_step_begin                                callback → step_probe.begin
      forward pass of a micro-batch          →   capture: a MicroBatch notes tokens and masks
      backward pass                          →   capture: what the loss sends to each response (coefficients), and the
                                                 per-response gradients, kept as factors
    on_pre_optimizer_step                        step_probe.predict
      (gradients complete and clipped)           optimizer_preview: the update that the optimizer is about to make
                                                 evaluator: gradients × update = forecast, a ProbeResult; likewise for
                                                 held-out pairs, with passes of their own
      optimizer.step()
    on_optimizer_step                            step_probe.measure
                                                 evaluator: score the same pairs again = measured change
                                                 recorder: metrics → TRL's log, rows → table, alerts → log and tracker
                                                 scheduling: when to probe next

`trainer_adapter` reads what is needed off a trainer, `distributed` gathers the results of several processes,
`failsafe` keeps every exception of the probe away from the run.
"""
