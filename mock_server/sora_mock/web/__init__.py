"""Bytes to calls and back: each module gives a list of routes and decides nothing."""
