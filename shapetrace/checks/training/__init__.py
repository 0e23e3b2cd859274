"""The training step: optimizers, what is cleared, modes, frozen layers."""
