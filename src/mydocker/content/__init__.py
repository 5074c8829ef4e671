"""Blobs by digest: ingest, verify, commit, read."""
