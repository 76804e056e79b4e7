"""The local Batch: Google Cloud Batch, Cloud Logging and an image registry in one process, running real containers.

Nothing of the library imports it; it is reached over the wire only.
"""
