"""Container records, their states, and the verbs that move them."""
