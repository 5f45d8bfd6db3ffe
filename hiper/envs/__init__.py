"""Text environments: pure engines behind one small interface (`base`), found by name through `registry`."""
