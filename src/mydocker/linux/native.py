"""As much of ctypes as system calls need, from the C module below it.

``import ctypes`` runs a good deal of Python and loads four more modules: 2 ms, a tenth of a cold start, for
what is mostly not used here. The names and what they do are those of ctypes, and that is where they are taken
from if an interpreter has not got the C names (they are private). Modules that no cold start loads import
ctypes itself.
"""

from __future__ import annotations

__all__ = (
    "POINTER",
    "PyDLL",
    "Structure",
    "addressof",
    "byref",
    "c_byte",
    "c_char",
    "c_char_p",
    "c_int",
    "c_long",
    "c_uint",
    "c_uint32",
    "c_uint64",
    "c_ulong",
    "c_ushort",
    "c_void_p",
    "create_string_buffer",
    "get_errno",
    "pythonapi",
    "sizeof",
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import (
        POINTER,
        PyDLL,
        Structure,
        addressof,
        byref,
        c_byte,
        c_char,
        c_char_p,
        c_int,
        c_long,
        c_uint,
        c_uint32,
        c_uint64,
        c_ulong,
        c_ushort,
        c_void_p,
        create_string_buffer,
        get_errno,
        pythonapi,
        sizeof,
    )
else:
    try:
        from _ctypes import (
            FUNCFLAG_CDECL,
            FUNCFLAG_PYTHONAPI,
            FUNCFLAG_USE_ERRNO,
            POINTER,
            CFuncPtr,
            Structure,
            _SimpleCData,
            addressof,
            byref,
            dlopen,
            get_errno,
            sizeof,
        )

        class c_byte(_SimpleCData):  # noqa: N801 - the names of ctypes
            _type_ = "b"

        class c_char(_SimpleCData):  # noqa: N801
            _type_ = "c"

        class c_char_p(_SimpleCData):  # noqa: N801
            _type_ = "z"

        class c_int(_SimpleCData):  # noqa: N801
            _type_ = "i"

        class c_long(_SimpleCData):  # noqa: N801
            _type_ = "l"

        class c_uint(_SimpleCData):  # noqa: N801
            _type_ = "I"

        class c_uint64(_SimpleCData):  # noqa: N801
            _type_ = "Q"

        class c_ulong(_SimpleCData):  # noqa: N801
            _type_ = "L"

        class c_ushort(_SimpleCData):  # noqa: N801
            _type_ = "H"

        class c_void_p(_SimpleCData):  # noqa: N801
            _type_ = "P"

        c_uint32 = c_uint

        class PyDLL:
            """A library whose functions keep the interpreter lock; ``None`` is the process itself."""

            def __init__(self, name, use_errno=False):
                flags = FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI | (FUNCFLAG_USE_ERRNO if use_errno else 0)
                members = {"_flags_": flags, "_restype_": c_int}
                self._handle = dlopen(name, 0)
                self._function = type("_FuncPtr", (CFuncPtr,), members)

            def __getattr__(self, name):
                if name.startswith("__"):
                    raise AttributeError(name)
                function = self._function((name, self))
                setattr(self, name, function)
                return function

        def create_string_buffer(init, size=None):
            if isinstance(init, int):
                return (c_char * init)()
            buffer = (c_char * (size or len(init) + 1))()
            buffer.value = init
            return buffer

        pythonapi = PyDLL(None)
    except ImportError:
        import ctypes

        globals().update((name, getattr(ctypes, name)) for name in __all__)
