"""One file per kernel facility. Only this package touches ctypes, ioctl numbers and netlink bytes."""
