"""Ways to take a figure, each tested on something whose figure is known."""
