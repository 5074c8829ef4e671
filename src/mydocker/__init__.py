"""A container engine in Python: runtime, images and containers, with no daemon and no other engine."""

__version__ = "0.1.0"
