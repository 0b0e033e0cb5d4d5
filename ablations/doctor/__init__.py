"""Can measurements on this machine be trusted? Known figures, taken by what takes all others."""
