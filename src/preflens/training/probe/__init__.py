"""The probe of a training run: forecasts of steps, and what the steps did."""
