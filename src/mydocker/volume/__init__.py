"""Volumes: directories that outlive the containers that use them."""
