"""Images: names, configuration, and how archives become layers."""
