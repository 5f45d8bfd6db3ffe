"""Hosts environment sessions behind gRPC: batched, idempotent, leased. Knows nothing of models, prompts or tokens."""
