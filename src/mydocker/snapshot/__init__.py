"""Layers as directories, and the mounts that stack them into a root file system."""
