"""Makes the helpers in this folder importable from every test below it; no test is judged by its time."""

from hypothesis import settings

# A shared machine makes single examples slow now and then: speed is measured in benchmarks/.
settings.register_profile("hiper", deadline=None)
settings.load_profile("hiper")
