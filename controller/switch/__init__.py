"""The shell around OpenFlow: sockets, threads, TLS and os-ken. It carries bytes and decides nothing about flows."""
