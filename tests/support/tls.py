"""A certificate authority of the tests' own, made with the openssl program."""

from __future__ import annotations

import os
import ssl
from typing import NamedTuple

from support import command


class Issued(NamedTuple):
    """Paths of a certificate and its key."""

    certificate: str
    key: str

    def context(self, client_authority: str = "") -> ssl.SSLContext:
        """For a server; with an authority, it wants certificates of its clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if client_authority:
            context.load_verify_locations(client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    def __init__(self, directory: str, name: str = "tests") -> None:
        self.directory = directory
        self.certificate = os.path.join(directory, f"{name}-ca.crt")
        self._key = os.path.join(directory, f"{name}-ca.key")
        command.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-nodes", "-days", "2", "-subj", f"/CN={name} authority", "-keyout", self._key),
                *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", self.certificate),
            ]
        )

    def issue(self, *names: str) -> Issued:
        """For a server of these host names and addresses, and for a client as well."""
        place = os.path.join(self.directory, names[0])
        kinds = [f"IP:{name}" if name.replace(".", "").isdecimal() else f"DNS:{name}" for name in names]
        with open(f"{place}.ext", "w") as file:
            file.write(f"subjectAltName={','.join(kinds)}\nextendedKeyUsage=serverAuth,clientAuth\n")
        command.run(
            [
                *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-nodes", "-subj", f"/CN={names[0]}", "-keyout", f"{place}.key", "-out", f"{place}.csr"),
            ]
        )
        command.run(
            [
                *("openssl", "x509", "-req", "-in", f"{place}.csr", "-CA", self.certificate, "-days", "2"),
                *("-CAkey", self._key, "-CAcreateserial", "-extfile", f"{place}.ext", "-out", f"{place}.crt"),
            ]
        )
        return Issued(f"{place}.crt", f"{place}.key")
