"""The edge to the machine: clock, randomness, package data, console, log, event bus, and uvicorn's protocol."""
