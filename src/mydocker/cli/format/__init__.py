"""How results look: tables, templates, JSON, sizes and times for people."""
