"""The OCI runtime: from a config.json to a running process, as an ordered list of small steps."""
