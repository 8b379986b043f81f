"""The operations of the emulated service and of its control: plain functions of account facts, request and time."""
