"""Computes advantages and value targets of whole batches on CPUs; runs no neural network."""
