"""The rules: pure functions of facts and time, which read no clock, draw no number and touch nothing."""
