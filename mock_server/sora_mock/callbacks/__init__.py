"""Delivers callbacks: each attempt at its time."""
