"""Those whom benchmarks compare, each brought up for the same scene and asked for the same things."""
