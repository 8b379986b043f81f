"""Delivers callbacks: every attempt at its moment."""
