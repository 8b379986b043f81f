"""Attacks on sora-mock that anyone can repeat: `scripts/attack` runs them and writes the table of docs/security.md."""
