"""What a cell can ask for, one module each: a cell in, its measurement out."""
