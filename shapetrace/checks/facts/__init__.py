"""What several checks ask of a trace: the batch, the steps, who compares what."""
