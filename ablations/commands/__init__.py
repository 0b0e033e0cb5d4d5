"""The commands of the command line, a module for each; imports next to nothing until one is called."""
