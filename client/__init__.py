"""The remote: the REST client and the `warren` command line built on it. The agent and the lab use the same client."""

VERSION = "0.1.0"
