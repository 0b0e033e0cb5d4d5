"""One small module per question. Each states the question, how to run it alone, what it costs and what it found."""
