"""Replays a recording of the live service against a mock and reports every difference."""
