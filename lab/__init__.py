"""Hosts as network namespaces, each with its own real Open vSwitch: the demo, tests and benchmarks stand here."""
