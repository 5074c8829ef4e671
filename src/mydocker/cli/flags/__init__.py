"""What can be given on the command line: how flags are parsed, and the syntax of each one's value."""
