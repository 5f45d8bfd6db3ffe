"""The benchmarks' own data: where it is published, how it is fetched and unpacked, and whether it is whole."""
