"""Advantage estimation over turns: HAE, flat GAE, reward shaping and whitening, as vectorised numpy (method.md)."""
