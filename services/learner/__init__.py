"""The learner: actor, critic and reference; updates, checkpoints, weights, tasks, values."""
