"""Files that hold arrays of numbers: a file for each kind."""
