"""The contract suite: green on the mock, red where a fault is planted."""
