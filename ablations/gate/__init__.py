"""Whether a change makes the code slower: its base and its head, measured in turns."""
