"""The processes of a run, one package each; no service imports another."""
