"""The face: the REST API, log-in and the admin pages. It asks `db` for every rule and knows nothing of flows."""
