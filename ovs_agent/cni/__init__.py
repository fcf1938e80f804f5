"""The CNI plugin: what a container runtime calls to attach a container and detach it."""
