"""The rules: pure functions of facts and time. They read no clock, make no random choice and use no network or file."""
