"""Docker: a network driver and an IPAM driver in one plugin, as dockerd finds them under /run/docker/plugins."""
