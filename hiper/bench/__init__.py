"""What `hiper bench NAME` runs: one module a benchmark, each with `run(options, say) -> Report` (see `timing`).

These measure the program a user has, on the user's machine. Studies that need more than a few minutes, or compare
several programs, live in benchmarks/ and are not installed.
"""
