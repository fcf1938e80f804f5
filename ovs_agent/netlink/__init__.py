"""Interfaces: the veth pairs of containers, on the host's side and inside."""
