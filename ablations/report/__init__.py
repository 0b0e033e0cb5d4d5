"""The report: a pure function of what is in the results folder. `render.render` is its one entry."""
