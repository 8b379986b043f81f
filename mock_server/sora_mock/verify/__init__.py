"""Runs the contract suite and writes its reports. It speaks HTTP and imports nothing of the emulated service."""
