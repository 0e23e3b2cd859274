"""The batch is noted as raw events, which are built into records later."""
