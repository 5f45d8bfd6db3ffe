"""Turns raw outcomes into per-turn rewards by named terms, and hands trajectories into their batches."""
