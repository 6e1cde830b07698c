"""The fault harness: one seed, one installation, every channel, every fault, and books that must balance."""
