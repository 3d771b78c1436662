"""Training: one file a kind of reward model, and the losses."""
