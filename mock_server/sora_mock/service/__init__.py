"""The operations of the emulated service."""
