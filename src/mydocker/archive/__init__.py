"""Layer archives: apply a tar to a directory, make a tar of a difference, whiteouts."""
