"""How the local Batch runs a container: one small interface, and several ways to keep to it."""
