"""Verify: records, the bytes of blobs, and unpacked layers, compared."""
