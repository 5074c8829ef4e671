"""The OCI documents and names: digests, references, descriptors, image and runtime documents."""
