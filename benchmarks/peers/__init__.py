"""Other systems that benchmarks run beside Warren."""
