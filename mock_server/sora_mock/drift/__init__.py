"""Compares a mock with a recording of the live service."""
