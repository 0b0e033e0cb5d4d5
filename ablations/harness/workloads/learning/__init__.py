"""Training: what is learned, how, and what the trained model is asked in the end."""
