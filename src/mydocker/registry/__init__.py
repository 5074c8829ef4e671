"""Registries: the client's side of the OCI distribution specification 1.1, and what it needs to be let in.

    client          Registries -> Repository; mirrors
    remote          one repository on one host: manifests, tags    endpoint    the host
    download        a blob, taken up again where it broke          upload      the other direction
    transport       one request (message) with credentials, redirects, retries (patience)
    authentication  challenges (challenge), tokens, Basic
    connections     pools, TLS, proxies
    failures        what goes wrong, in Docker's words
    credentials     Docker's config.json, helpers (helper)
    configuration   registries.toml, certs.d

Out of scope: what the documents mean, which of them to ask for, and where the bytes go (``image/``).
"""
