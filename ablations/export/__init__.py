"""What people take out of a results folder: data files, tables and figures for papers."""
