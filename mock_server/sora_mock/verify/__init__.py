"""The contract suite's machinery: runner, reports, spending guard; speaks HTTP, knows nothing of the emulator."""
